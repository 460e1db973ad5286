"""The differences between a checkout and an installed package.

A checkout has the commands (``COMMANDS``), configs/ and requirements.txt next to the
package. A wheel has the commands and configs/ inside the package, in ``checkout/``
(pyproject.toml), and its requirements in its metadata.
"""

import difflib
import functools
import os
import re
import shlex
import sys
from importlib import metadata
from pathlib import Path

from cnn_arch.errors import UsageError

_PACKAGE = Path(__file__).resolve().parent
_IN_WHEEL = _PACKAGE / "checkout"
IS_CHECKOUT = not _IN_WHEEL.is_dir()
ROOT = _PACKAGE.parent if IS_CHECKOUT else _IN_WHEEL
COMMANDS = ("prepare", "train", "eval", "analyze", "sweep", "experiment")
DOCTOR = "make doctor" if IS_CHECKOUT else "python -m cnn_arch.doctor"


@functools.cache  # each check of settings asks
def recipes() -> tuple[str, ...]:
    """Returns the names of the project's recipes."""
    return tuple(name for name in _names(ROOT / "configs") if name != "base")


def sweeps() -> list[str]:
    """Returns the names of the project's sweeps."""
    return [name for name in _names(ROOT / "configs" / "sweeps") if name != "base"]


def experiments() -> list[str]:
    """Returns the names of the project's experiments."""
    return [name for name in _names(ROOT / "configs" / "experiments") if name != "base"]


def find_recipe(given: str) -> Path:
    """Returns the file of a recipe, given as a path or a name of ``recipes()``.

    Raises:
      UsageError: the file does not exist.
    """
    return _find("--config", given, ROOT / "configs")


def find_sweep(given: str) -> Path:
    """Returns the file of a sweep, as ``find_recipe`` does of a recipe."""
    return _find("--sweep", given, ROOT / "configs" / "sweeps")


def find_experiment(given: str) -> Path:
    """Returns the file of an experiment, as ``find_recipe`` does of a recipe."""
    return _find("experiment", given, ROOT / "configs" / "experiments")


def _find(option: str, given: str, folder: Path) -> Path:
    path = Path(given)
    if path.is_file():
        return path
    names = _names(folder)
    if given in names:
        return folder / f"{given}.py"
    names.remove("base")  # every recipe imports it; it is not one to suggest
    known = [str(path.parent / f"{name}.py") for name in _names(path.parent)] + names
    near = difflib.get_close_matches(given, known, n=1) or difflib.get_close_matches(
        path.stem, names, n=1
    )
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    raise UsageError(f"{option}={given}: no such file; {hint}")


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("[a-z]*.py"))


def import_recipes() -> None:
    """Lets recipes import ``configs.base`` from any working directory."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))


def requirements() -> list[str]:
    """Returns the required packages, one a line: pinned in a checkout, else ranges."""
    if not IS_CHECKOUT:
        return metadata.requires("cnn-arch") or []
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    return list(filter(None, lines))


def install_extra(extra: str) -> str:
    """Returns a line to paste that installs optional packages: cuda or onnx."""
    in_checkout = f"pip install -r requirements-{extra}.txt"
    return in_checkout if IS_CHECKOUT else f'pip install "cnn_arch[{extra}]"'


def command(name: str, *words: str) -> str:
    """Returns a line to paste: ``python eval.py ...`` or ``cnn-arch eval ...``."""
    start = ("python", f"{name}.py") if IS_CHECKOUT else ("cnn-arch", name)
    return _join(*start, *words)


def program() -> str:
    """Returns the running command's name: ``train.py`` or ``cnn-arch train``."""
    path = Path(sys.argv[0])
    return path.name if IS_CHECKOUT else f"cnn-arch {path.stem}"


def own_command(*words: str) -> str:
    """Returns a line to paste that repeats this command with more words at its end."""
    start, *given = sys.argv
    if IS_CHECKOUT:  # by its path: the working directory may be another
        return _join("python", start, *given, *words)
    return command(Path(start).stem, *given, *words)


def _join(*words: str) -> str:
    r"""Quotes words for a shell; bash's ``$'a\nb'`` keeps the line in one line."""
    return " ".join(
        shlex.quote(word) if word.isprintable() else f"$'{''.join(map(_escape, word))}'"
        for word in words
    )


def _escape(char: str) -> str:
    """Escapes a character inside bash's ``$'...'``."""
    if char in "'\\":
        return f"\\{char}"
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))


def examples(text: str) -> str:
    """Returns a checkout's example commands as they are typed here."""
    if IS_CHECKOUT:
        return text
    text = re.sub(r"python (\w+)\.py", r"cnn-arch \1", text)
    return re.sub(r"(--\w+)=configs/(?:sweeps/)?(\w+)\.py", r"\1=\2", text)
