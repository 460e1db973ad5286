"""What eval.py is asked for, checked before JAX is imported."""

import os
import re
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from typing import Any

from cnn_arch.command_line import check_file, check_folder, check_use
from cnn_arch.errors import UsageError
from cnn_arch.hints import nearest
from cnn_arch.setting_rules import COMBINE, PROTOCOLS, SCALES, explain
from cnn_arch.value_rules import numbers, one_of
from cnn_arch.weights import SUFFIXES
from cnn_arch.weights.download import is_published

EXPORTS: tuple[str, ...] = (".stablehlo", ".onnx", ".safetensors", ".npz")
SPLITS = ("train", "validation", "test")

TOP_K = numbers(
    "whole numbers of classes, 1 to 1,000,000, that rise",
    lambda v: all(0 < x <= 10**6 for x in v) and list(v) == sorted(set(v)),
    "3,10",
)
PROTOCOL = ("protocol", "scales", "combine")
SOURCES = ("weights", "workdir", "checkpoint", "average", "data_dir")

# What eval.py does, and the options that this uses; without the first four, it
# evaluates a split.
USES = {
    "average_of": (),
    "export": SOURCES,
    "images": (*SOURCES, *PROTOCOL),
    "features": (*SOURCES, "split", "output"),
    "": (*SOURCES, *PROTOCOL, "split", "top_k", "save_probabilities"),
}


def add_options(parser: ArgumentParser) -> None:
    """Adds the options of eval.py."""
    text = "the directory of a run; of several, also the mean of their networks"
    parser.add_argument("--workdir", action="append", help=text)
    for name, text in {
        "checkpoint": "best, last, a step, or all: their mean too; default best",
        "weights": "instead of --workdir, with --config=RECIPE: weights of torchvision "
        "(.safetensors, .pth, torchvision:NAME) or Caffe (.caffemodel, caffe:NAME), or "
        "weights_best.npz of a run",
        "split": "train, validation or test; default test",
        "images": "a picture, or a folder of pictures with its sub-folders",
        "features": "write the outputs of a layer: fc7, conv5_3, pool5",
        "output": "the file of the features; default LAYER.npz",
        "protocol": "one_crop (default), ten_crop, dense, ..., or paper: the recipe's",
        "scales": "shorter sides of the resized image, px: 256,384,512",
        "combine": "what is averaged over the views: softmax (default) or logits",
        "top_k": "further top-k errors, besides 1 and 5: 3,10",
        "export": "write FILE.stablehlo, .onnx, .safetensors or .npz",
        "data_dir": "the data's folder, if it has moved",
        "average_of": "the mean of files of --save_probabilities: a.npz,b.npz",
    }.items():
        parser.add_argument(f"--{name}", help=text)
    for name, text in {
        "average": "use the average of the parameters",
        "save_probabilities": "also write the probabilities of all classes",
        "json": "print one JSON object, nothing else",
    }.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)


def workdirs(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the directories of the runs that are given."""
    paths = given.get("workdir", ())
    return (paths,) if isinstance(paths, str) else tuple(paths)


def is_ensemble(given: Mapping[str, Any]) -> bool:
    """Whether several networks are given, of which the mean is wanted too."""
    return len(workdirs(given)) > 1 or given.get("checkpoint") == "all"


def check(given: Mapping[str, Any], words: Sequence[str]) -> None:
    """Checks the options of eval.py, and the files that they name.

    Args:
      given: the options with their values.
      words: ``--config`` and its settings.

    Raises:
      UsageError: an option has no effect with the others, or cannot work.
    """
    check_use(given, USES, otherwise="")
    _check_ensemble(given)
    _check_source(given, words)
    if (split := given.get("split", "test")) not in SPLITS:
        near = nearest(split, SPLITS)
        hint = f"; did you mean {near}?" if near else ""
        raise UsageError(f"--split={split}: must be one of {', '.join(SPLITS)}{hint}")
    _check_protocol(given)
    for name in ("weights", "images", "data_dir"):
        path = given.get(name)
        if name == "weights" and is_published(path or ""):
            continue
        if path and not os.path.exists(path):
            raise UsageError(f"--{name}={path}: no such file or folder")
    if "export" in given:
        check_file("--export", given["export"], EXPORTS)
    if "features" in given:
        check_file("--output", output_path(given), (".npz",))
    elif "export" not in given:
        for path in workdirs(given):
            check_folder("--workdir", path)


def output_path(given: Mapping[str, str]) -> str:
    """Returns the file for the outputs of a layer; the default is LAYER.npz."""
    return given.get("output") or f"{given['features']}.npz".replace("/", "-")


def _check_ensemble(given: Mapping[str, Any]) -> None:
    """Checks the options of several networks, and of their saved probabilities."""
    paths = workdirs(given)
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise UsageError(f"--workdir={twice}: is given twice; give each run once")
    for name in ("export", "images", "features", "weights"):
        if name in given and is_ensemble(given):
            raise UsageError(
                f"--{name}={given[name]}: goes with one network; give one --workdir, "
                "and --checkpoint=best"
            )
    for path in given.get("average_of", "").split(","):
        if "average_of" in given and not os.path.isfile(path):
            raise UsageError(
                f"--average_of={given['average_of']}: no file {path!r}; give files of "
                "--save_probabilities, with commas between them"
            )


def _check_protocol(given: Mapping[str, str]) -> None:
    """Checks the options that choose the views of an image."""
    for name in ("scales", "combine"):
        if name in given and "protocol" not in given:
            raise UsageError(
                f"--{name}={given[name]}: goes with --protocol; add one, such as "
                "--protocol=ten_crop"
            )
    for name, rule in (("protocol", one_of("paper", *PROTOCOLS)), ("combine", COMBINE)):
        if name in given and not rule.follows(given[name]):
            text = explain(rule, given[name])
            raise UsageError(f"--{name}={given[name]}: {text}")
    for name, rule, example in (
        ("scales", SCALES, "256,384,512"),
        ("top_k", TOP_K, "3,10"),
    ):
        if (text := given.get(name)) is not None:
            # Digits alone: int() reads other numbers, too.
            words = text.split(",")
            found = [int(x) if re.fullmatch("[0-9]{1,9}", x) else x for x in words]
            if not rule.follows(found):
                raise UsageError(
                    f"--{name}={text}: must be {rule.words}, such as --{name}={example}"
                )


def _check_source(given: Mapping[str, str], words: Sequence[str]) -> None:
    """Checks the options that name the network."""
    weights, workdir = given.get("weights"), given.get("workdir")
    makes_file = next((name for name in ("export", "features") if name in given), None)
    if weights and not words:
        raise UsageError(f"--weights={weights}: needs its network, --config=RECIPE")
    if (
        weights
        and not is_published(weights)
        and os.path.splitext(weights)[1] not in SUFFIXES
    ):
        raise UsageError(f"--weights={weights}: must end in {', '.join(SUFFIXES)}")
    for name in ("checkpoint", "average"):
        if weights and name in given:
            option = "--average" if name == "average" else f"--{name}={given[name]}"
            raise UsageError(
                f"{option}: has no effect with --weights; leave one of them out"
            )
    if weights and workdir and makes_file:
        raise UsageError(
            f"--workdir={workdir}: has no effect with --weights and --{makes_file}; "
            "leave it out"
        )
    needs_data = weights or not ("export" in given or "images" in given)
    if "data_dir" in given and not needs_data:
        raise UsageError(
            f"--data_dir={given['data_dir']}: has no effect, as no data is read; leave "
            "it out"
        )
