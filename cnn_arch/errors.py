"""The two ways in which a command ends badly, each told in one line.

The text of either reads ``GIVEN: RULE; FIX``: what was given, the rule that it breaks,
and what to do about it.
"""


class UsageError(Exception):
    """What the user gave cannot work; nothing was started."""

    exit_status = 2


class RunError(Exception):
    """A run that had started cannot go on; what it saved is intact."""

    exit_status = 1
