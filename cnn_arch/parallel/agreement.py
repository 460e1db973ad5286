"""What the processes of a run agree on between two steps, without waiting for it."""

import collections
import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cnn_arch.parallel import processes


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a process asks for after a step."""

    save: bool = False
    signal: int = 0  # number of the signal that asks to save and to stop; 0: none


class Agreement:
    """Combines the wishes of all processes.

    Each process asks after every step. It reads the common answer as late as the step's
    metrics, so all processes save or stop after the same step, and none waits. A single
    process has its answer at once.
    """

    def __init__(self) -> None:
        self._asked: collections.deque[Any] = collections.deque()

    def ask(self, wish: Wish) -> None:
        """Starts to compare a wish with the other processes' wishes."""
        # The largest number is the answer: a signal is more than a save.
        self._asked.append(_largest(2 * wish.signal + wish.save))

    def hear(self, num_left: int = 0) -> Wish:
        """Returns the combined wishes of all but the newest ``num_left`` steps.

        Each wish is returned once.
        """
        if processes.count() == 1:
            num_left = 0
        heard = 0
        while len(self._asked) > num_left:
            heard = max(heard, int(self._asked.popleft()))
        return Wish(save=bool(heard), signal=heard // 2)


def _largest(number: int) -> Any:
    """Returns the largest int32 of all processes, perhaps before it is computed."""
    if processes.count() == 1:
        return number
    maximum, sharding = _maximum()
    own = np.array([number], np.int32)
    return maximum(jax.make_array_from_process_local_data(sharding, own))


@functools.cache
def _maximum() -> tuple[Any, NamedSharding]:
    """Returns the compiled comparison and the sharding of its argument."""
    firsts = {device.process_index: device for device in reversed(jax.devices())}
    devices = np.array([firsts[index] for index in range(processes.count())])
    mesh = Mesh(devices, "process")
    maximum = jax.jit(lambda x: x.max(), out_shardings=NamedSharding(mesh, P()))
    return maximum, NamedSharding(mesh, P("process"))
