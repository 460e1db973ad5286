"""Names from outside (classes, files, job commands) made safe to show in one line."""

import unicodedata


def printable(text: str, columns: int | None = None) -> str:
    """Returns the text in one line of visible characters.

    Line breaks, control characters, direction marks and undecodable bytes become "?".

    Args:
      text: any string, also one with surrogates from a file name that is not UTF-8.
      columns: where given, the text is cut to this width and ends in an ellipsis; East
        Asian wide characters count two.
    """
    line = "".join(char if char.isprintable() else "?" for char in text)
    if columns is None or _width(line) <= columns:
        return line
    while _width(line) > columns - 1:
        line = line[:-1]
    return line.rstrip() + "…"


def _width(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)
