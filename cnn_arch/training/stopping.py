"""Stopping between two steps, when Ctrl-C or the scheduler asks for it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class StoppedError(Exception):
    """A run was asked to stop, and has saved its state.

    Attributes:
      step: the state that was saved.
      exit_status: 128 + the signal: 130 after Ctrl-C.
    """

    def __init__(self, number: int, step: int):
        """Remembers the signal's number and the step saved."""
        super().__init__(signal.Signals(number).name)
        self.step = step
        self.exit_status = 128 + number


class StopRequest:
    """Whether a signal has arrived: its number, or None."""

    number: int | None = None


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Turns the first SIGINT or SIGTERM into a request; a second one ends at once."""
    request = StopRequest()

    def note(number, _):
        request.number = number
        for each, handler in previous.items():
            signal.signal(each, handler)

    previous = {
        each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield request
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
