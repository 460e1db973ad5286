"""What an evaluation costs, said before it begins."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from cnn_arch.data.sources import Source
from cnn_arch.screen import Screen, clock
from cnn_arch.units import counted


def say_cost(
    run: Callable[[], Any],
    number: float,
    description: Mapping[str, Any],
    source: Source,
    screen: Screen,
) -> None:
    """Says the protocol, the number of crops and about how long a split will take.

    Args:
      run: computes a batch; the first call compiles, the second is timed.
      number: of such batches in the split.
      description: "protocol" and "num_crops".
      source: the split.
      screen: of the command.
    """
    screen.say("protocol", description["protocol"])
    with screen.timed("compile", "evaluation"):
        jax.block_until_ready(run())
    start = time.monotonic()
    jax.block_until_ready(run())
    seconds = number * (time.monotonic() - start)
    views = counted(description["num_crops"], "view")
    images = counted(len(source), "image")
    text = f"{views} of each of {images}, about {clock(seconds)} of computation"
    screen.say("cost", text)
