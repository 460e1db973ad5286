"""The energy that a computation takes, where the machine says so.

On a processor, it is what RAPL counts of its packages: the whole processor, with other
programs and at idle, without the memory modules
(https://www.kernel.org/doc/html/latest/power/powercap/powercap.html). On an NVIDIA GPU,
it is the mean of the power that nvidia-smi samples, by the time. Elsewhere it is
unavailable: never estimated.
"""

import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
SAMPLING_MS = 100  # of nvidia-smi
NVIDIA_SMI = "nvidia-smi --query-gpu=power.draw --format=csv,noheader,nounits --id=0"


class Energy:
    """What was measured between two moments."""

    seconds: float
    joules: float | None = None  # None: the machine does not say


@contextmanager
def metered(platform: str, powercap: Path = POWERCAP) -> Iterator[Energy]:
    """Measures the energy and the time until the end of the block.

    Args:
      platform: of the devices: cpu or gpu (of several, the first one counts).
      powercap: the kernel's folder with the counters.
    """
    found, start = Energy(), time.perf_counter()
    if platform == "gpu" and shutil.which("nvidia-smi"):
        words = [*NVIDIA_SMI.split(), f"--loop-ms={SAMPLING_MS}"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as sampler:
            try:
                yield found
            finally:
                found.seconds = time.perf_counter() - start
                sampler.terminate()
            assert sampler.stdout
            watts = [float(line) for line in sampler.stdout if _is_number(line)]
        found.joules = statistics.fmean(watts) * found.seconds if watts else None
        return
    zones = packages(powercap) if platform == "cpu" else []
    before = [counter(zone) for zone in zones]
    yield found
    found.seconds = time.perf_counter() - start
    after = [counter(zone) for zone in zones]
    if zones:
        joules = 0.0
        for zone, first, last in zip(zones, before, after, strict=True):
            wrapped = counter(zone, "max_energy_range_uj") if last < first else 0
            joules += (last - first + wrapped) / 1e6
        found.joules = joules


def packages(powercap: Path) -> list[Path]:
    """Returns the counters of the processor's packages that can be read."""
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):  # also AMD's, by this name
        try:
            name = (zone / "name").read_text()
            counter(zone)
        except (OSError, ValueError):  # most systems let only root read it
            continue
        if name.startswith("package"):
            found.append(zone)
    return found


def counter(zone: Path, name: str = "energy_uj") -> int:
    """Reads a number of a zone, microjoules."""
    return int((zone / name).read_text())


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "", 1).isdigit()
