"""Set-up from nothing, in copies of the project's own files, without a network."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL_PYTHON = Path(sys.base_prefix, "bin", f"python3.{sys.version_info[1]}")
VERSION = sys.version.split()[0]
SYSTEM_PROGRAMS = ("sh", "make", "awk", "dirname", "cut", "cmp", "cp", "mkdir")
WHEEL = "hello-1.0-py3-none-any.whl"


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def write_wheel(path: Path) -> None:
    info = "hello-1.0.dist-info"
    metadata = "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n"
    kind = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("hello.py", "")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", kind)
        wheel.writestr(f"{info}/RECORD", "")


class Clone:
    """A clone in a folder with a space, on a machine without any Python."""

    def __init__(self, folder: Path):
        self.root = folder / "a clone"
        self.bin = folder / "bin"
        self.home = folder / "home"
        for path in (self.root, self.bin, self.home):
            path.mkdir()
        for name in SYSTEM_PROGRAMS:
            program = shutil.which(name)
            assert program, name
            (self.bin / name).symlink_to(program)
        for name in ("Makefile", "setup.sh"):
            shutil.copy(ROOT / name, self.root)
        write_wheel(self.root / WHEEL)
        (self.root / "requirements.txt").write_text(f"./{WHEEL}\n")
        (self.root / "requirements-dev.txt").write_text("-r requirements.txt\n")
        (self.root / "requirements-cuda.txt").write_text("-r requirements.txt\n")

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(self.home), "PATH": str(self.bin), **more}
        return subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True
        )

    def set_up(self, *what: str) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "setup.sh", *what, PYTHON=str(REAL_PYTHON))

    def find(self, **more: str) -> str:
        result = self.run("sh", "setup.sh", "find", **more)
        assert result.returncode == 0, result.stderr
        return result.stdout.removesuffix("\n")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


@pytest.fixture
def bare_clone(clone: Clone) -> Clone:
    """A clone where not even the folders that are always searched have a Python."""
    folders = [Path("/opt/homebrew/bin"), Path("/usr/local/bin")]
    folders += Path("/Library/Frameworks/Python.framework/Versions").glob("*/bin")
    for folder in folders:
        if any(folder.glob("python*")):
            pytest.skip(f"{folder} has a Python, which set-up rightly finds")
    return clone


def test_a_shim_that_fails_is_passed_over(bare_clone: Clone) -> None:
    write_program(bare_clone.bin / "python3.14", "echo 'not installed' >&2; exit 127")
    write_program(bare_clone.bin / "python", "echo 14")
    (bare_clone.bin / "python3").symlink_to(REAL_PYTHON)
    assert bare_clone.find() == f"{bare_clone.bin}/python3"


def test_the_newest_that_fits_is_chosen(bare_clone: Clone) -> None:
    def answer(minor: int) -> str:
        return f"echo '{minor} 3.{minor}.0'"

    write_program(bare_clone.bin / "python3", answer(12))
    newer = bare_clone.home / ".pyenv/versions/3.13.0/bin/python3"
    write_program(newer, answer(13))
    write_program(bare_clone.home / ".local/share/uv/python/a/bin/python3", answer(11))
    # What the probe prints nothing for: older than 3.11, or 3.15 without wheels.
    write_program(
        bare_clone.home / ".asdf/installs/python/3.15.0/bin/python3", "exit 0"
    )
    assert bare_clone.find() == str(newer)
    elsewhere = bare_clone.home / "pyenv/versions/3.14.0/bin/python3.14"
    write_program(elsewhere, answer(14))
    assert bare_clone.find(PYENV_ROOT=str(bare_clone.home / "pyenv")) == str(elsewhere)
    assert bare_clone.find(PYTHON=str(REAL_PYTHON)) == str(REAL_PYTHON)


def test_no_python_at_all_says_what_to_install(bare_clone: Clone) -> None:
    result = bare_clone.run("make", "train")
    assert result.returncode == 2
    assert result.stderr.startswith("error: no Python 3.11 to 3.14 found; install one")
    assert not (bare_clone.root / ".venv").exists()


def test_debian_without_venv_says_what_to_install(bare_clone: Clone) -> None:
    blocked = "import sys; sys.modules['ensurepip'] = None; exec(sys.argv[1])"
    python = bare_clone.bin / "python3"
    write_program(python, f'exec {REAL_PYTHON} -I -c "{blocked}" "$3"')
    result = bare_clone.run("sh", "setup.sh")
    assert result.returncode == 2
    assert result.stderr == (
        f"error: {python}: cannot make an environment; apt install python3-venv\n"
    )


@pytest.mark.parametrize(
    ("python", "rule"),
    [("no-such-python", "no such program"), ("sh", "not a working CPython")],
)
def test_a_wrong_python_is_named(clone: Clone, python: str, rule: str) -> None:
    result = clone.run("sh", "setup.sh", PYTHON=python)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: PYTHON={python}: {rule}")


def test_set_up_installs_once_and_again_after_a_change(clone: Clone) -> None:
    first = clone.set_up()
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("python   3.") and VERSION in first.stdout
    assert "install  requirements.txt into .venv" in first.stdout
    python = f"{clone.root}/.venv/bin/python"
    assert clone.run(python, "-c", "import hello").returncode == 0
    assert clone.find() == ".venv/bin/python"

    assert clone.set_up().stdout == ""

    result = clone.set_up("dev")
    assert "install  requirements.txt requirements-dev.txt into" in result.stdout
    assert clone.set_up("dev").stdout == ""
    assert clone.set_up().stdout == ""

    with (clone.root / "requirements.txt").open("a") as file:
        file.write("# changed\n")
    assert "install  requirements.txt into" in clone.set_up().stdout

    write_program(clone.bin / "nvidia-smi", "echo 'GPU 0: a card'")
    result = clone.set_up()
    assert "requirements.txt requirements-cuda.txt into" in result.stdout
    (clone.bin / "nvidia-smi").unlink()

    # A pip that fails is one line, and is tried again.
    (clone.root / "requirements.txt").write_text("./missing.whl\n")
    for _ in range(2):
        result = clone.set_up()
        assert result.returncode == 2
        assert result.stderr.startswith("error: pip: ")
        assert len(result.stderr.splitlines()) == 1
        assert "missing.whl" in result.stderr


def test_an_interrupted_or_broken_environment_is_made_good(clone: Clone) -> None:
    environment = clone.root / ".venv"
    subprocess.run(
        [REAL_PYTHON, "-m", "venv", "--without-pip", environment], check=True
    )
    assert clone.set_up().returncode == 0

    for link in (environment / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/no/such/python")
    result = clone.set_up()
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("python   3.")


def test_a_folder_of_the_users_own_is_left_alone(clone: Clone) -> None:
    mine = clone.root / ".venv" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("kept")
    result = clone.set_up()
    assert result.returncode == 2
    assert result.stderr.startswith("error: .venv: not an environment")
    assert mine.read_text() == "kept"


def test_make_alone_lists_each_target(clone: Clone) -> None:
    lines = clone.run("make").stdout.splitlines()
    targets = [line.split()[1] for line in lines]
    assert targets == "help train test test-cluster lint format doctor clean".split()
    assert max(map(len, lines)) <= 80


def test_targets_call_the_commands_of_the_environment(clone: Clone) -> None:
    commands = clone.run("make", "-n", "train").stdout.splitlines()
    assert commands == [
        "sh setup.sh",
        ".venv/bin/python train.py --config=configs/lenet5.py",
    ]
    assert clone.run("make", "-n", "test").stdout.startswith("sh setup.sh dev\n")


def test_clean_keeps_the_runs(clone: Clone) -> None:
    for name in ("rm", "find"):
        (clone.bin / name).symlink_to(shutil.which(name) or os.devnull)
    for folder in (".venv/bin", "runs/a", "cnn_arch/__pycache__"):
        (clone.root / folder).mkdir(parents=True)
    assert clone.run("make", "clean").returncode == 0
    assert not (clone.root / ".venv").exists()
    assert not (clone.root / "cnn_arch/__pycache__").exists()
    assert (clone.root / "runs/a").is_dir()
