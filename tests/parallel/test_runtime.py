"""The cache of compiled programs, where it can be written and where it cannot."""

import jax
import pytest

from cnn_arch.parallel import runtime

OPTION = "jax_compilation_cache_dir"


@pytest.fixture(autouse=True)
def no_cache():
    """Sets back what the function changes."""
    before = getattr(jax.config, OPTION)
    jax.config.update(OPTION, None)
    yield
    jax.config.update(OPTION, before)


def kept_in():
    runtime.keep_compiled_programs()
    return getattr(jax.config, OPTION)


def test_programs_are_kept_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    assert kept_in() == str(tmp_path / "new" / "cnn_arch" / "xla")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert kept_in() == str(tmp_path / "home" / ".cache" / "cnn_arch" / "xla")


def test_without_a_home_nothing_is_kept(tmp_path, monkeypatch):
    """As for a user id that the system does not know, without HOME."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert kept_in() is None
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_not_used(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", "/proc", "/sys/kernel"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        assert kept_in() is None
