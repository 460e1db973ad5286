"""The kinds of error that end a command; each is printed as one line.

The line reads ``GIVEN: RULE; FIX``: the value, the rule that it breaks, and what to do.
"""


class UsageError(Exception):
    """The user's input cannot work; nothing was started."""

    exit_status = 2


class RunError(Exception):
    """A started run cannot continue; its saved files are intact."""

    exit_status = 1


class DivergedError(RunError):
    """The loss of a run became infinite or not a number."""
