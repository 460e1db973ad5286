"""What analyze.py is asked for, checked before JAX is imported."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnn_arch.command_line import check_folder, check_use
from cnn_arch.errors import UsageError
from cnn_arch.units import parse_size

NETWORK = ("model", "image_size", "batch")
# What the command shows, and the options that this uses.
USES = {
    "claims": ("format",),
    "report": ("figures", "format"),
    "scale": (*NETWORK, "roofline", "link", "latency", "figures", "format"),
    "collectives": (*NETWORK, "format"),
    "figures": (*NETWORK, "format"),
    "workdir": (*NETWORK, "measure"),
    "": (*NETWORK, "fold", "training", "memory", "measure", "roofline", "format"),
}


def check(given: Mapping[str, Any], words: Sequence[str]) -> None:
    """Checks that each option has an effect, and that the folders can be written.

    Raises:
      UsageError: one has none, the memory is no size, or a folder is in a file.
    """
    uses = dict(USES)
    if "figures" in given:  # the pictures are of a network, the page is of all
        uses["report"] += NETWORK
    check_use(given, uses, otherwise="")
    for name in ("claims", "report"):
        if name in given and words and "figures" not in given:
            raise UsageError(f"{words[0]}: has no effect with --{name}; leave it out")
    if "workdir" in given:
        check_folder("--workdir", given["workdir"])
        if "measure" not in given:
            raise UsageError("--workdir: goes with --measure")
    for name in ("report", "figures"):
        if name in given:
            check_folder(f"--{name}", given[name])
            if given.get("format", "json") != "json" and "scale" not in given:
                form = f"--format={given['format']}"
                raise UsageError(f"{form}: has no effect with --{name}; leave it out")
    if "memory" in given:
        parse_size("--memory", given["memory"])
    if "model" in given and any(word.startswith("--config=") for word in words):
        raise UsageError(f"--model={given['model']}: give it or --config, not both")
