"""The NVIDIA cards of a machine, found without JAX."""

import os
import subprocess
from pathlib import Path

from cnn_arch import installation


def nvidia_driver_found() -> bool:
    """Returns whether an NVIDIA driver runs here."""
    if Path("/proc/driver/nvidia/version").exists():
        return True
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode == 0
    except OSError:
        return False


def unused_gpu(platform: str) -> str | None:
    """Returns a warning if JAX's platform is ``cpu`` despite an NVIDIA card."""
    is_chosen = "cpu" in os.environ.get("JAX_PLATFORMS", "")
    if platform != "cpu" or is_chosen or not nvidia_driver_found():
        return None
    return (
        f"JAX does not use the NVIDIA card; {installation.install_extra('cuda')}, then "
        f"'{installation.DOCTOR}'"
    )


def visible_gpus() -> list[str]:
    """Returns the cards for programs started here, as CUDA_VISIBLE_DEVICES names them.

    There are none if JAX_PLATFORMS chooses the CPU.
    """
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        named = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        return [name for name in named if name not in ("", "-1")]
    cards = list(Path("/proc/driver/nvidia/gpus").glob("*"))
    return [str(number) for number in range(len(cards))]
