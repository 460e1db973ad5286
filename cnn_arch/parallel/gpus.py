"""Which NVIDIA cards a machine has, whatever JAX makes of them."""

import os
import subprocess
from pathlib import Path


def nvidia_driver_found() -> bool:
    """Tells whether an NVIDIA driver runs here."""
    if Path("/proc/driver/nvidia/version").exists():
        return True
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode == 0
    except OSError:
        return False


def unused_gpu(platform: str) -> str | None:
    """Returns a warning where there is an NVIDIA card that JAX does not use.

    Args:
      platform: of the devices that JAX computes on, such as ``cpu``.
    """
    if platform != "cpu" or "cpu" in os.environ.get("JAX_PLATFORMS", ""):
        return None
    if not nvidia_driver_found():
        return None
    return (
        "there is an NVIDIA card that JAX cannot see; "
        "pip install -r requirements-cuda.txt, then 'make doctor'"
    )


def visible_gpus() -> list[str]:
    """Returns the cards for programs started here, by CUDA_VISIBLE_DEVICES' names."""
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        named = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        return [name for name in named if name not in ("", "-1")]
    cards = Path("/proc/driver/nvidia/gpus")
    return [str(n) for n in range(len(list(cards.iterdir())))] if cards.exists() else []
