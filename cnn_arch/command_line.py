"""The options of a command: read, and checked before anything long begins."""

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cnn_arch import __version__, hints, installation, setting_words
from cnn_arch.errors import UsageError
from cnn_arch.setting_rules import FIELD_RULES, RULES

SETTINGS = (*RULES, *FIELD_RULES)
# What other programs call our options.
MEANINGS = {
    "model": "config",
    "arch": "config",
    "network": "config",
    "recipe": "config",
    "cfg": "config",
    "out": "workdir",
    "outdir": "workdir",
    "output_dir": "workdir",
    "log_dir": "workdir",
    "logdir": "workdir",
    "save_dir": "workdir",
    "run": "workdir",
    "image": "images",
    "input": "images",
    "ckpt": "checkpoint",
    "pretrained": "weights",
    "layer": "features",
    "jobs": "max_parallel",
    "trials": "num_trials",
}
# argparse's messages about an option, and ours; {0} is its value or its choices.
REASONS = {
    r"expected one argument": "needs a value",
    r"invalid int value: '(.*)'": "must be a whole number, not {0}",
    r"invalid float value: '(.*)'": "must be a number, not {0}",
    r"invalid choice: '(.*)' \(.*\)": "must be one of {choices}, not {0}",
    r"ignored explicit argument '(.*)'": "takes no value; leave ={0} out",
}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError, in the words of this project."""

    def error(self, message: str) -> NoReturn:
        """Raises the error of a wrong option."""
        found = re.fullmatch(r"argument (?:-\w/)?(--\w+): (.*)", message, re.DOTALL)
        for pattern, reason in REASONS.items():
            if found and (said := re.fullmatch(pattern, found[2], re.DOTALL)):
                choices = self._option_string_actions[found[1]].choices or ()
                reason = reason.format(*said.groups(), choices=", ".join(choices))
                raise UsageError(f"{found[1]}: {reason}; see --help")
        raise UsageError(f"{message}; see --help")

    @property
    def names(self) -> list[str]:
        """The names of the command's options, without dashes; also ``config``."""
        known = [name for name in self._option_string_actions if name[:2] == "--"]
        return ["config", *(name.removeprefix("--") for name in known)]

    def read(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Reads a command line; returns the options, and the words for the config.

        ``options.given`` has the values of the options that differ from the default.

        Raises:
          UsageError: an option is wrong, unknown, empty, or given twice.
        """
        options, others = self.parse_known_args(words)
        values = vars(options)
        for name, value in values.items():
            if isinstance(value, list):  # of an option that may be given several times
                values[name] = value[0] if len(value) == 1 else tuple(value)
        for name, value in values.items():
            if value == "" or (isinstance(value, tuple) and "" in value):
                raise UsageError(f"--{name}=: is empty; give a value, or leave it out")
        times = Counter(word.partition("=")[0] for word in words)
        for name, value in values.items():
            if times[f"--{name}"] > 1 and not isinstance(value, bool | tuple):
                raise UsageError(f"--{name}: is given twice; give it once")
        for word in setting_words.joined(others, "--"):
            name = word.partition("=")[0]
            if name != "--config" and not name.startswith("--config."):
                raise UsageError(explain(word, self.names))
        options.given = {
            name: value
            for name, value in values.items()
            if value is not None and value != self.get_default(name)
        }
        return options, others


def parser(description: str | None, examples: str) -> Parser:
    """Makes a command's parser with the options that all commands have.

    --help shows the first line of the description, and the examples to paste.
    """
    parser = Parser(
        prog=installation.program(),
        description=(description or "").partition("\n")[0],
        epilog=f"examples:\n{installation.examples(examples)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--quiet", action="store_true", help="show the last line only")
    add("--traceback", action="store_true", help="show where in the program it failed")
    add("--version", action="version", version=f"cnn_arch {__version__}")
    return parser


def check_use(
    given: Mapping[str, Any], uses: Mapping[str, Collection[str]], *, otherwise: str
) -> None:
    """Checks that each option has an effect with the others.

    Args:
      given: the options with their values, as ``Parser.read`` returns them.
      uses: for each option that chooses what a command does, the more important first,
        the options that it uses; the rest of the options always has an effect.
      otherwise: the key in ``uses`` of what the command does without these options.

    Raises:
      UsageError: an option has no effect.
    """
    chosen = next((name for name in uses if name in given), otherwise)
    ruled = set(uses).union(*uses.values()) - {chosen}
    for name in given:
        if name not in ruled or name in uses[chosen]:
            continue
        value = given[name]
        value = value[0] if isinstance(value, tuple) else value
        option = f"--{name}" if value is True else f"--{name}={value}"
        if chosen != otherwise:
            raise UsageError(
                f"{option}: has no effect with --{chosen}; leave one of them out"
            )
        others = [each for each in uses if name in uses[each]]
        raise UsageError(f"{option}: goes with --{' or --'.join(others)}")


def check_folder(option: str, path: str) -> None:
    """Checks that a folder is there, or can be made.

    Raises:
      UsageError: it is a file or in one, or nothing can be written there.
    """
    given = f"{option}={path}"
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{given}: {reason}; choose another folder") from None
    parts = Path(path).absolute()
    there = next(each for each in (parts, *parts.parents) if os.path.lexists(each))
    if not there.is_dir():
        raise UsageError(f"{given}: {there} is not a folder; choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{given}: {there} cannot be written; choose another folder")


def check_file(option: str, path: str, suffixes: Sequence[str]) -> None:
    """Checks that a file of a known format can be written.

    Raises:
      UsageError: it has another suffix, or its folder cannot be written.
    """
    if Path(path).suffix not in suffixes:
        raise UsageError(f"{option}={path}: must end in {', '.join(suffixes)}")
    if os.path.isdir(path):
        raise UsageError(f"{option}={path}: is a folder; give a file")
    check_folder(option, os.path.dirname(path) or os.curdir)


def explain(word: str, names: Sequence[str]) -> str:
    """Returns the error line of a word that is neither an option nor a setting.

    It names what the user meant, by the meaning of the word or else by its letters.

    Args:
      word: of the command line, such as ``--confg=lenet5``, ``lr=0.1`` or ``lenet5``.
      names: of the command's options, with ``config``, without dashes.
    """
    body = word.lstrip("-\u2010\u2011\u2012\u2013\u2014\u2212")  # also typeset dashes
    key, equals, value = body.partition("=")
    key = key.replace("-", "_")
    if body == word and not equals:
        return _explain_bare(word, names)
    if key in names or key.startswith("config."):
        return f"{word!r}: write --{key}{equals}{value}"
    if (meant := MEANINGS.get(key)) in names and not (meant == "config" and "." in key):
        return f"{word}: no such option; did you mean --{meant}?"
    if setting := hints.meant_setting(key, SETTINGS):
        fix = f"--config.{setting}{equals}{value}"
        return f"{word!r}: settings need the prefix; write {fix}"
    near = hints.nearest(key, names)
    setting = hints.nearest_setting(key, SETTINGS)
    if near or setting:
        return f"{word}: no such option; did you mean --{near or f'config.{setting}'}?"
    return f"{word}: no such option; see --help"


def _explain_bare(word: str, names: Sequence[str]) -> str:
    """Explains a word without dashes and without ``=``."""
    known = installation.recipes()
    name = word.partition(":")[0]
    path = Path(name)
    meant = None
    if name in known or path.suffix == ".py":
        is_sweep = "sweep" in names and "sweeps" in path.parts
        meant = "sweep" if is_sweep else "config"
    elif name in installation.sweeps():
        meant = "sweep"
    elif any((path / each).is_file() for each in ("config.json", "manifest.json")):
        meant = "workdir"
    elif path.exists() or path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"):
        meant = "images" if "images" in names else "config.data.dir"
    if meant and (meant in names or "." in meant):
        return f"{word!r}: a word without its option; write --{meant}={word}"
    near = hints.nearest(name, known)
    hint = f"did you mean --config={near}?" if near else "see --help"
    return f"{word!r}: a word without its option; {hint}"


def read(parser: Parser) -> tuple[argparse.Namespace, list[str]]:
    """Reads the command line of this process, as ``Parser.read`` does."""
    return parser.read(sys.argv[1:])
