"""Where the four commands and the recipes are: in a checkout, or inside the package.

A wheel carries train.py, eval.py, analyze.py, sweep.py and configs/ inside the package,
in ``checkout/`` (pyproject.toml). In a checkout they are beside it.
"""

import difflib
import re
import shlex
import sys
from pathlib import Path

from cnn_arch.errors import UsageError

_PACKAGE = Path(__file__).resolve().parent
_CARRIED = _PACKAGE / "checkout"
IS_CHECKOUT = not _CARRIED.is_dir()
ROOT = _PACKAGE.parent if IS_CHECKOUT else _CARRIED
COMMANDS = ("train", "eval", "analyze", "sweep")


def recipes() -> list[str]:
    """Returns the names of the recipes that come with the project."""
    return [name for name in _names(ROOT / "configs") if name != "base"]


def sweeps() -> list[str]:
    """Returns the names of the sweeps that come with the project."""
    return [name for name in _names(ROOT / "configs" / "sweeps") if name != "base"]


def find_recipe(given: str) -> Path:
    """Returns the file of a recipe.

    Args:
      given: a path, or the name of a recipe that comes with the project.

    Raises:
      UsageError: there is no such file.
    """
    return _find("--config", given, ROOT / "configs", recipes())


def find_sweep(given: str) -> Path:
    """Returns the file of a sweep, as ``find_recipe``."""
    return _find("--sweep", given, ROOT / "configs" / "sweeps", sweeps())


def _find(option: str, given: str, folder: Path, names: list[str]) -> Path:
    if given in [*names, "base"] and not Path(given).is_file():
        return folder / f"{given}.py"
    if Path(given).is_file():
        return Path(given)
    beside = Path(given).parent
    known = [str(beside / f"{name}.py") for name in _names(beside)] + names
    near = difflib.get_close_matches(given, known, n=1) or difflib.get_close_matches(
        Path(given).stem, names, n=1
    )
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    raise UsageError(f"{option}={given}: no such file; {hint}")


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("[a-z]*.py"))


def import_recipes() -> None:
    """Lets recipes import ``configs.base``, wherever the command was started."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))


def command(name: str, *words: str) -> str:
    """Returns a command to be pasted: ``python eval.py ...`` or ``cnn-arch eval ...``.

    Args:
      name: one of ``COMMANDS``.
      *words: its options.
    """
    start = ("python", f"{name}.py") if IS_CHECKOUT else ("cnn-arch", name)
    return shlex.join([*start, *words])


def program() -> str:
    """Returns what runs, as it is typed: ``train.py`` or ``cnn-arch train``."""
    path = Path(sys.argv[0])
    return path.name if IS_CHECKOUT else f"cnn-arch {path.stem}"


def own_command(*words: str) -> str:
    """Returns the command that runs, to be pasted, with more words at its end."""
    start, *given = sys.argv
    if IS_CHECKOUT:  # by its path, which may lead here from another folder
        return shlex.join(["python", start, *given, *words])
    return command(Path(start).stem, *given, *words)


def examples(text: str) -> str:
    """Returns lines with commands as they are to be typed here."""
    if IS_CHECKOUT:
        return text
    text = re.sub(r"python (\w+)\.py", r"cnn-arch \1", text)
    return re.sub(r"(--\w+)=configs/(?:sweeps/)?(\w+)\.py", r"\1=\2", text)
