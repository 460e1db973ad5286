"""The doctor against real packages, real programs on PATH and a real bare Python."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cnn_arch import doctor

ROOT = Path(__file__).resolve().parent.parent


def run_doctor(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-m", "cnn_arch.doctor"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_python_that_works_is_ok(minor: int) -> None:
    finding = doctor.check_python((3, minor, 1))
    assert finding.value.startswith(f"3.{minor}.1 ")
    assert not finding.fix


@pytest.mark.parametrize("minor", [10, 15])
def test_python_that_cannot_have_the_packages_gets_a_fix(minor: int) -> None:
    assert "3.11 to 3.14" in doctor.check_python((3, minor, 0)).fix


def test_installed_packages_match_the_pins() -> None:
    finding = doctor.check_packages(ROOT / "requirements.txt")
    assert not finding.fix, finding.value


def test_missing_and_other_packages_are_named(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(
        "# a comment\n"
        "\n"
        f"pytest=={version('pytest')}  # as installed\n"
        "absent-package==1.0; python_version < '3'\n"
        "numpy==1.0\n"
        "no-such-package==2.0\n"
    )
    finding = doctor.check_packages(requirements)
    assert finding.value == (
        f"numpy is {version('numpy')}, not ==1.0; no-such-package is missing"
    )
    assert finding.fix == f"{sys.executable} -m pip install -r requirements.txt"


def test_a_card_that_jax_does_not_see_gets_a_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("JAX_PLATFORMS")
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has an NVIDIA driver")
    assert doctor.check_device().value.endswith("cores (no GPU found)")

    program.write_text("#!/bin/sh\necho 'GPU 0: a card'\n")
    finding = doctor.check_device()
    assert finding.value.endswith("there is an NVIDIA card that JAX does not see")
    assert finding.fix.endswith("pip install -r requirements-cuda.txt")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert doctor.check_device().fix.startswith("unset JAX_PLATFORMS")


def test_disk_without_room_for_checkpoints_gets_a_fix() -> None:
    assert doctor.LEAST_FREE_BYTES == 4_598_400_000
    assert not doctor.check_disk(4_598_400_000).fix
    assert "make room" in doctor.check_disk(4_598_399_999).fix


def test_prepared_data_sets_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "TFDS_DIR", tmp_path)
    monkeypatch.setattr(doctor, "FASHION_MNIST_DIR", tmp_path / "absent")
    (tmp_path / "downloads" / "extracted").mkdir(parents=True)
    for folder in ("cifar10/3.0.2", "imagenette/full-size-v2/1.0.0"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "dataset_info.json").write_text("{}")
    assert doctor.check_data() == doctor.Finding("mnist5k, cifar10, imagenette")


def test_a_missing_platform_is_one_line() -> None:
    result = run_doctor(JAX_PLATFORMS="cuda")
    assert result.returncode == 1
    assert "JAX_PLATFORMS=cuda: JAX finds no such device" in result.stdout
    assert "-> unset JAX_PLATFORMS" in result.stdout
    assert "Traceback" not in result.stderr


def test_python_without_packages_is_told_how_to_get_them() -> None:
    result = run_doctor("-S")  # without site-packages
    assert result.returncode == 1, result.stderr
    assert "packages FIX  not installed\n" in result.stdout
    assert "-> make train, which installs them" in result.stdout
