"""What the processes of a run agree on between two steps, without waiting for it."""

import collections
import dataclasses
from typing import Any

import jax

from cnn_arch.parallel import processes


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be done after a step."""

    save: bool = False
    signal: int = 0  # the number of the signal that asks to save and to stop; 0: none


class Agreement:
    """Collects the wishes of all processes, one of each with every step.

    Where there are several processes, each asks after every step, and hears what all
    have asked for as late as it reads the step's metrics: so all save or stop after the
    same step. A process alone hears itself at once.
    """

    def __init__(self) -> None:
        """Begins with nothing asked for."""
        self._asked: collections.deque[Any] = collections.deque()
        self._is_alone = jax.process_count() == 1

    def ask(self, wish: Wish) -> None:
        """Starts to compare a wish with those of the other processes."""
        # One number for both: of several wishes, the largest number is the answer.
        self._asked.append(processes.largest(2 * wish.signal + wish.save))

    def hear(self, num_left: int = 0) -> Wish:
        """Returns what any process has asked for, up to the newest few steps.

        Args:
          num_left: steps whose answers may still be on their way.
        """
        heard = 0
        while len(self._asked) > (0 if self._is_alone else num_left):
            heard = max(heard, int(self._asked.popleft()))
        return Wish(save=bool(heard), signal=heard // 2)
