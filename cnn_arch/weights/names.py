"""The names of arrays, compared and listed."""

from collections.abc import Mapping, Sequence

from cnn_arch.errors import UsageError
from cnn_arch.screen import printable

NUM_LISTED = 3  # names in a message


def check_shapes(
    given: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    """Checks the names and the shapes of arrays.

    Raises:
      UsageError: the message has the first names of each kind of fault.
    """
    faults = {
        "missing": sorted(wanted.keys() - given.keys()),
        "left over": sorted(given.keys() - wanted.keys()),
        "of another shape": [
            f"{key} {given[key]} instead of {shape}"
            for key, shape in sorted(wanted.items())
            if given.get(key, shape) != shape
        ],
    }
    found = [f"{word}: {listed(keys)}" for word, keys in faults.items() if keys]
    if found:
        raise UsageError("; ".join(found))


def listed(names: Sequence[str]) -> str:
    """Returns the first names, and how many more there are."""
    more = len(names) - NUM_LISTED
    shown = [printable(name, 60) for name in names[:NUM_LISTED]]
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
