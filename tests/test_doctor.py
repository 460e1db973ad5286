"""The doctor with real packages, programs on PATH and a bare Python."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from cnn_arch import doctor, installation
from cnn_arch.data import bundled

PIP_INSTALL = f"{sys.executable} -m pip install"


def run_doctor(*options: str, **environment: str) -> str:
    """Returns the output of a doctor that finds something to fix."""
    result = subprocess.run(
        [sys.executable, *options, "-m", "cnn_arch.doctor"],
        cwd=installation.ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (1, "")
    return result.stdout


@pytest.mark.parametrize("minor", range(10, 16))
def test_python_3_11_to_3_14_is_ok(minor):
    finding = doctor.check_python((3, minor, 1))
    assert finding.value.startswith(f"3.{minor}.1 ")
    assert ("3.11 to 3.14" in finding.fix) == (minor in (10, 15))


def test_installed_packages_match_the_pins():
    finding = doctor.check_packages(installation.requirements())
    assert not finding.fix, finding.value


def test_missing_and_other_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "ROOT", tmp_path)
    (tmp_path / "requirements.txt").write_text(
        "# a comment\n"
        "\n"
        f"pytest=={metadata.version('pytest')}  # as installed\n"
        "absent-package==1.0; python_version < '3'\n"
        "numpy==1.0\n"
        "no-such-package==2.0\n"
    )
    finding = doctor.check_packages(installation.requirements())
    assert finding.value == (
        f"numpy is {metadata.version('numpy')}, not ==1.0; no-such-package is missing"
    )
    assert finding.fix == f"{PIP_INSTALL} -r requirements.txt"


def test_an_installed_package_is_compared_with_its_own_requirements(monkeypatch):
    lines = [
        f"pytest>=1,<={metadata.version('pytest')}",
        "absent-package; extra == 'dev'",
        "numpy<1",
        "no-such-package>=2",
    ]
    monkeypatch.setattr(installation, "IS_CHECKOUT", False)
    monkeypatch.setattr(metadata, "requires", {"cnn-arch": lines}.get)
    finding = doctor.check_packages(installation.requirements())
    assert finding.value == (
        f"numpy is {metadata.version('numpy')}, not <1; no-such-package is missing"
    )
    assert finding.fix == f"{PIP_INSTALL} 'numpy<1' 'no-such-package>=2'"


def test_a_card_that_jax_does_not_use_gets_a_fix(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("JAX_PLATFORMS")
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has an NVIDIA driver")
    assert re.search(r"\d cores? \(no GPU found\)$", doctor.check_device().value)

    program.write_text("#!/bin/sh\necho 'GPU 0: a card'\n")
    finding = doctor.check_device()
    assert finding.value.endswith("; JAX does not use the NVIDIA card")
    assert finding.fix == f"{PIP_INSTALL} -r requirements-cuda.txt"
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert doctor.check_device().fix.startswith("unset JAX_PLATFORMS")


def test_a_disk_too_small_for_checkpoints_gets_a_fix():
    assert doctor.MIN_FREE_BYTES == 4_598_400_000
    assert not doctor.check_disk(4_598_400_000).fix
    assert doctor.check_disk(4_598_399_999).fix.endswith("checkpoints need 4.3 GiB")


def test_prepared_data_sets_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "TFDS_DIR", tmp_path)
    (tmp_path / "idx").mkdir()
    folders = {"mnist": tmp_path / "idx", "fashion_mnist": tmp_path / "absent"}
    monkeypatch.setattr(doctor, "IDX_FOLDERS", folders)
    (tmp_path / "downloads" / "extracted").mkdir(parents=True)
    for folder in ("cifar10/3.0.2", "imagenette/full-size-v2/1.0.0"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "dataset_info.json").write_text("{}")
    assert doctor.check_data() == doctor.Finding("mnist5k, mnist, cifar10, imagenette")


def test_idx_files_are_looked_for_where_training_does():
    folders = {name: files.folder for name, files in bundled.IDX_FILES.items()}
    assert folders == doctor.IDX_FOLDERS


def test_a_missing_platform_is_one_line():
    shown = run_doctor(JAX_PLATFORMS="cuda")
    assert "JAX_PLATFORMS=cuda: JAX finds no such device" in shown
    assert "-> unset JAX_PLATFORMS" in shown


def test_python_without_packages_gets_a_fix():
    shown = run_doctor("-S")  # without site-packages
    assert "packages FIX  not installed\n" in shown
    assert "-> make train, which installs them" in shown
