"""Random settings and config.json: taken, or refused in one line."""

import contextlib
import copy
import io
import json
import math
import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaign.lab import Lab, Part
from tests.campaign.launch import Worker
from tests.campaign.table import Trial

MAX_CHARACTERS = 1000  # of a message
RECIPES = (
    "lenet5.py",
    "resnet18.py:folder",
    "inception_v3.py:cifar10",
    "base.py:mnist5k",
)
VALUES = """
0 -0 1 -1 2 3 64 64.5 0.5 1e-9 1e9 1e308 1e309 -1e309 nan inf -inf 2**70 1_000 0x10 07
9223372036854775808 -9223372036854775809 170141183460469231731687303715884105728
True true yes no None null () (1,) (1,2) (1,2,3) (None,) (nan,) (inf,inf,inf) [1,2,3]
(3,2,1) (0,0,0) ((1,),) ('a',) {} {'a':1} [] "''" '""' ' ' cosine step constant all
kernels global per_device float32 bfloat16 float16 folder tfds mnist5k fashion_mnist
resize pad none pad_crop affine lenet5 resnet18 nosuch ../x / ~ . é 日本 \ud800 %s {0}
$HOME `id` ;ls __import__('os').getpid() lambda:0 1if(1)else(2) *1 =1 --config.seed=1
""".split()
VALUES += [
    "",
    "\x1b[31mred",
    "a\nb",
    "\x00",
    "\u202e",
    "9" * 5000,
    "(" * 300,
    "a" * 9000,
]


@cache
def _known() -> tuple[list[str], dict[str, Any]]:
    """Returns the keys of all settings, and their defaults."""
    from cnn_arch import settings
    from configs import base

    defaults = settings.flatten(base.get_config())
    return sorted(defaults), defaults


def words(generator: np.random.Generator) -> list[str]:
    """Returns a command line with one to three settings, some with mistakes."""
    keys, _ = _known()
    given = [f"--config=configs/{RECIPES[generator.integers(len(RECIPES))]}"]
    for _ in range(generator.integers(1, 4)):
        word = f"--config.{generator.choice(keys)}={generator.choice(VALUES)}"
        if generator.random() < 0.15:
            word = _misspelt(word, generator)
        given.append(word)
    if generator.random() < 0.05:
        given[0] = _misspelt(given[0], generator)
    return given


def _misspelt(word: str, generator: np.random.Generator) -> str:
    place = int(generator.integers(len(word)))
    extra = str(generator.choice(["", "", "-", "=", ":", ".", "x", " ", "\n", "é"]))
    return word[:place] + extra + word[place + 1 :]


def take(given: Sequence[str]) -> str:
    """Reads a command line; returns what is wrong, runs in a worker."""
    from cnn_arch import settings
    from cnn_arch.errors import UsageError

    try:
        config, _ = settings.parse(list(given))
    except UsageError as error:
        return fault_of_line(printed(error))
    except BaseException as error:  # SystemExit too
        return f"foreign exception: {type(error).__name__}: {str(error)[:150]!r}"
    return fault_of_config(config)


def printed(error: Exception) -> str:
    """Returns what a command prints for an error, without the line's end."""
    from cnn_arch.cli import Ending

    shown = io.StringIO()
    with contextlib.redirect_stderr(shown), contextlib.suppress(SystemExit):
        Ending().fail(str(error), 2)
    return shown.getvalue().removesuffix("\n")


def fault_of_line(line: str) -> str:
    """Returns why a message is not one short printable line."""
    if len(line) > MAX_CHARACTERS:
        return f"message of {len(line):,} characters"
    if not line.isprintable():
        found = next(char for char in line if not char.isprintable())
        return f"control character: {found!r} in a message"
    if re.search(r"Traceback|File \"|object at 0x", line):
        return f"foreign text: {line[:150]!r}"
    return ""


def fault_of_config(config: Any) -> str:
    """Returns which value of an accepted config has another type than its default."""
    from cnn_arch import settings

    _, defaults = _known()
    found = settings.flatten(config)
    for key, default in defaults.items():
        if key not in found:
            return f"accepted: {key} is missing"
        if not _is_alike(key, found[key], default):
            return f"accepted: {key}={str(found[key])[:80]!r}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(settings.to_json(config))
        again = settings.flatten(settings.from_json(path))
    return "" if again == found else "accepted: config.json reads as another config"


def _is_alike(key: str, value: Any, default: Any) -> bool:
    """A number of the same kind, finite and not huge; a list of numbers or names."""
    is_list = isinstance(value, tuple | list)
    if key == "freeze":
        return is_list and all(type(each) is str for each in value)
    if isinstance(default, float):
        return type(value) in (int, float) and math.isfinite(value)
    if isinstance(default, tuple | list) or (key == "class_weights" and is_list):
        return is_list and all(
            type(each) in (int, float) and math.isfinite(each) for each in value
        )
    if type(value) is not type(default):
        return False
    return type(value) is not int or abs(value) < 2**63


def run_settings(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """Gives random settings to the reader of the command line."""
    worker = Worker(take)
    for number in numbers:
        given = words(lab.generator("settings", number))
        fault = worker.ask(given)
        yield Trial(number, ascii(given)[:300], fault, _command(given) if fault else "")
    worker.stop()


def _command(given: Sequence[str]) -> str:
    return "python train.py " + " ".join(ascii(word)[:200] for word in given)


def mutated(config: dict[str, Any], generator: np.random.Generator) -> str:
    """Returns the text of a config.json with one to three changes."""
    config = copy.deepcopy(config)
    for _ in range(generator.integers(1, 4)):
        group = config
        while True:
            key = str(generator.choice(sorted(group)))
            if not (isinstance(group[key], dict) and group[key]):
                break
            group = group[key]
        action = generator.choice(["value", "value", "value", "drop", "rename", "deep"])
        if action == "drop":
            del group[key]
        elif action == "rename":
            group[_misspelt(key, generator)] = group.pop(key)
        elif action == "deep":
            group[key] = {"a": [{"b": None}]}
        else:
            group[key] = _json_value(str(generator.choice(VALUES)))
        if not config or not group:
            break
    text = json.dumps(config)
    if generator.random() < 0.2:
        place = int(generator.integers(len(text)))
        text = text[:place] + str(generator.choice(["", "[" * 9999, "\x00", "}", "é"]))
    return text


def _json_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def take_file(text: str) -> str:
    """Reads a config.json; returns what is wrong, runs in a worker."""
    from cnn_arch import settings
    from cnn_arch.errors import UsageError

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(text, errors="surrogatepass")
        try:
            config = settings.from_json(path)
        except UsageError as error:
            return fault_of_line(printed(error))
        except BaseException as error:
            return f"foreign exception: {type(error).__name__}: {str(error)[:150]!r}"
    return fault_of_config(config)


def run_files(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """Gives changed config.json to the reader of runs."""
    config = json.loads((lab.oracle.reference / "config.json").read_text())
    worker = Worker(take_file)
    for number in numbers:
        text = mutated(config, lab.generator("config", number))
        fault = worker.ask(text)
        # The whole file is remade from the number and the seed.
        yield Trial(number, f"config.json {number}, {len(text):,} characters", fault)
    worker.stop()


SETTINGS = Part(
    "settings",
    "random settings on the command line: taken with their type, or one line",
    (300, 2000, 10_000),
    run_settings,
)
FILES = Part(
    "config",
    "a run's config.json with random changes: taken with its types, or one line",
    (100, 1000, 10_000),
    run_files,
)
