"""Set-up from nothing, with copies of the project's files and without a network."""

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
    files = {
        "METADATA": "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("hello.py", "")
        for name, text in files.items():
            wheel.writestr(f"hello-1.0.dist-info/{name}", text)


class Clone:
    """A clone in a folder with a space, on a machine without any Python."""

    def __init__(self, folder: Path):
        self.root = folder / "a clone"
        self.bin = folder / "bin"
        self.home = folder / "home"
        for path in (self.root, self.bin, self.home):
            path.mkdir()
        self.link(*SYSTEM_PROGRAMS)
        for name in ("Makefile", "setup.sh"):
            shutil.copy(ROOT / name, self.root)
        write_wheel(self.root / WHEEL)
        (self.root / "requirements.txt").write_text(f"./{WHEEL}\n")
        (self.root / "requirements-dev.txt").write_text("-r requirements.txt\n")
        (self.root / "requirements-cuda.txt").write_text("-r requirements.txt\n")

    def link(self, *programs: str) -> None:
        for name in programs:
            program = shutil.which(name)
            assert program, name
            (self.bin / name).symlink_to(program)

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(self.home), "PATH": str(self.bin), **more}
        return subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True
        )

    def error(self, **more: str) -> str:
        result = self.run("sh", "setup.sh", **more)
        assert result.returncode == 2
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

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
    """Skips if a folder that setup.sh always searches has a Python."""
    folders = [Path("/opt/homebrew/bin"), Path("/usr/local/bin")]
    folders += Path("/Library/Frameworks/Python.framework/Versions").glob("*/bin")
    for folder in folders:
        if any(folder.glob("python*")):
            pytest.skip(f"{folder} has a Python, and setup.sh finds it")
    return clone


def test_a_shim_that_fails_is_skipped(bare_clone):
    write_program(bare_clone.bin / "python3.14", "echo 'not installed' >&2; exit 127")
    write_program(bare_clone.bin / "python", "echo 14")
    (bare_clone.bin / "python3").symlink_to(REAL_PYTHON)
    assert bare_clone.find() == f"{bare_clone.bin}/python3"


def test_the_newest_supported_python_is_chosen(bare_clone):
    def answer(minor: int) -> str:
        return f"echo '{minor} 3.{minor}.0'"

    write_program(bare_clone.bin / "python3", answer(12))
    newer = bare_clone.home / ".pyenv/versions/3.13.0/bin/python3"
    write_program(newer, answer(13))
    write_program(bare_clone.home / ".local/share/uv/python/a/bin/python3", answer(11))
    # The probe prints nothing for a Python older than 3.11, and for 3.15.
    unknown = bare_clone.home / ".asdf/installs/python/3.15.0/bin/python3"
    write_program(unknown, "exit 0")
    assert bare_clone.find() == str(newer)
    elsewhere = bare_clone.home / "pyenv/versions/3.14.0/bin/python3.14"
    write_program(elsewhere, answer(14))
    assert bare_clone.find(PYENV_ROOT=str(bare_clone.home / "pyenv")) == str(elsewhere)
    assert bare_clone.find(PYTHON=str(REAL_PYTHON)) == str(REAL_PYTHON)


def test_without_python_the_error_names_packages(bare_clone):
    result = bare_clone.run("make", "train")
    assert result.returncode == 2
    assert result.stderr.startswith("error: no Python 3.11 to 3.14 found; install one")
    assert not (bare_clone.root / ".venv").exists()


def test_debian_without_venv_names_the_package(bare_clone):
    blocked = "import sys; sys.modules['ensurepip'] = None; exec(sys.argv[1])"
    python = bare_clone.bin / "python3"
    write_program(python, f'exec {REAL_PYTHON} -I -c "{blocked}" "$3"')
    rule = "cannot make an environment; apt install python3-venv"
    assert bare_clone.error() == f"{python}: {rule}"


@pytest.mark.parametrize(
    ("python", "rule"),
    [("no-such-python", "no such program"), ("sh", "not a working CPython")],
)
def test_a_wrong_python_is_refused(clone, python, rule):
    assert clone.error(PYTHON=python).startswith(f"PYTHON={python}: {rule}")


@pytest.mark.slow  # CI installs, too
def test_set_up_installs_once_and_again_after_a_change(clone):
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

    # A pip that fails gives one line, and is tried again.
    (clone.root / "requirements.txt").write_text("./missing.whl\n")
    for _ in range(2):
        line = clone.error(PYTHON=str(REAL_PYTHON))
        assert line.startswith("pip: ") and "missing.whl" in line


@pytest.mark.slow
def test_an_interrupted_or_broken_environment_is_repaired(clone):
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


def test_a_folder_of_the_user_is_kept(clone):
    mine = clone.root / ".venv" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("kept")
    line = clone.error(PYTHON=str(REAL_PYTHON))
    assert line.startswith(".venv: not an environment")
    assert mine.read_text() == "kept"


def test_make_alone_lists_each_target(clone):
    lines = clone.run("make").stdout.splitlines()
    targets = [line.split()[1] for line in lines]
    names = "help train test test-campaign test-cluster lint format doctor clean"
    assert targets == names.split()
    assert max(map(len, lines)) <= 80


def test_targets_call_the_commands_of_the_environment(clone):
    commands = clone.run("make", "-n", "train").stdout.splitlines()
    assert commands == [
        "sh setup.sh",
        ".venv/bin/python train.py --config=configs/lenet5.py",
    ]
    assert clone.run("make", "-n", "test").stdout.startswith("sh setup.sh dev\n")


def test_clean_keeps_the_runs(clone):
    clone.link("rm", "find")
    for folder in (".venv/bin", "runs/a", "cnn_arch/__pycache__"):
        (clone.root / folder).mkdir(parents=True)
    assert clone.run("make", "clean").returncode == 0
    assert not (clone.root / ".venv").exists()
    assert not (clone.root / "cnn_arch/__pycache__").exists()
    assert (clone.root / "runs/a").is_dir()
