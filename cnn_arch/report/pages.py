"""The report and the README of a run, made from the files of its directory."""

import base64
import csv
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from cnn_arch import settings
from cnn_arch.errors import UsageError
from cnn_arch.files import write_text
from cnn_arch.report.confusion import shows_top5
from cnn_arch.run_directory import Run, read_classes
from cnn_arch.screen import printable

TEMPLATES = Path(__file__).parent / "templates"

# The files of a run directory, in the order of its README.
FILES = {
    "report.html": "the whole report on one page; open it in a browser, also offline",
    "run.lock": "which command uses the directory, or used it last",
    "config.json": "every setting of the run, defaults included",
    "environment.txt": "command line, packages, git commit",
    "log.txt": "the printed lines of the run, with times",
    "metrics.csv": "one row per epoch: losses, errors in percent, learning rate, speed",
    "steps.csv": "one row per training step: loss, learning rate",
    "layer_gradients.csv": "norm of the gradient of each layer's weights, by step",
    "events.out.tfevents*": "the same for TensorBoard: tensorboard --logdir=.",
    "classes.json": "the names of the classes, in the order of the network's outputs",
    "split.csv": "which image went to training, validation and test",
    "data_fingerprint.txt": "checksum of the data; the run resumes only with it",
    "data_checksums.csv": "checksum of each image; the run resumes only with them",
    "plots/train_batch.jpg": "images as the network gets them, and in evaluation",
    "plots/curves.png": "loss, error and learning rate over the epochs",
    "plots/layer_gradients.png": "norm of each layer's gradient, at three moments",
    "plots/confusion.png": "which class is taken for which",
    "plots/most_confused.png": "images of the most frequent mistakes",
    "plots/top_losses.jpg": "images with the greatest loss",
    "plots/reliability.png": "how often it is right, by the probability that it gives",
    "plots/filters_conv1.png": "the filters of the first layer",
    "eval/results.json": "loss and errors in percent on each split, and the protocol",
    "eval/predictions_*.csv": "one row per image: class, prediction, probability, loss",
    "eval/classes_*.csv": "precision, recall and F1 of each class, in percent",
    "checkpoints/best": "the network with the lowest validation error",
    "checkpoints/last": "the newest state, from which the same command continues",
    "weights_best.npz": "the parameters of the best network, for numpy.load",
    "crash.txt": "why the run failed",
    "diverged.json": "why the loss is not finite",
}


def make_environment(*folders: Path) -> jinja2.Environment:
    """Returns the environment for the templates here and in the given folders.

    It escapes every string and writes it in one line.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["number"] = _number
    return environment


def write_pages(run: Run, facts: Mapping[str, Any]) -> None:
    """Writes report.html and README.md of a run that has finished.

    ``facts`` are in no other file: "command", "device", "data", "model", "evaluate",
    one line each; "overrides", one line for each setting that differs from the recipe.
    """
    run.check(now=True)
    for path in run.workdir.glob("crash*.txt"):  # from an earlier start, any process
        path.unlink()
    write_report(run.workdir, facts)
    write_readme(run.workdir, facts)
    num_pictures = len(list((run.workdir / "plots").iterdir()))
    run.screen.say(
        "wrote",
        "report.html  README.md  metrics.csv  weights_best.npz  "
        f"plots/ ({num_pictures} pictures)",
    )


def write_report(workdir: Path, facts: Mapping[str, Any]) -> None:
    """Writes report.html: one file with its pictures, no script and no remote content.

    It leaves out what the run has not made yet. ``facts``: see ``write_pages``.
    """
    results = _results(workdir)
    split = next(iter(results), None)
    template = make_environment().get_template("report.html")
    page = template.render(
        facts=facts,
        name=workdir.resolve().name,
        headline=_headline(results),
        results=results,
        split=split,
        epochs=_epochs(workdir),
        pictures=_pictures(workdir),
        classes=_classes(workdir, split),
        settings=_settings(workdir),
        top5=shows_top5(_num_classes(workdir)),
        crashed=(workdir / "crash.txt").exists(),
    )
    write_text(workdir / "report.html", page)


def write_readme(workdir: Path, facts: Mapping[str, Any]) -> None:
    """Writes README.md, after all other files: it lists the files that are present.

    ``facts``: see ``write_pages``.
    """
    results = _results(workdir)
    title = re.sub(r"([^\w\s.,-]|_)", r"\\\1", printable(workdir.resolve().name))
    lines = [f"# {title}", "", _headline(results), ""]
    # Indented lines are code in Markdown: no name in them can become markup.
    for label in ("command", "device", "data", "model"):
        lines.append(f"    {label:<8} {printable(facts[label])}")
    top5 = shows_top5(_num_classes(workdir))
    for split, result in results.items():
        also = f"top-5 error {result['top5_error']:.2f} %, " if top5 else ""
        lines.append(
            f"    {printable(split):<8} top-1 error {result['top1_error']:.2f} %, "
            f"{also}loss {result['loss']:.4f}; "
            f"{printable(result['protocol'])}, step {result['checkpoint_step']}"
        )
    lines += ["", "## What differs from the recipe", ""]
    lines += [f"    {printable(line)}" for line in facts["overrides"]] or ["Nothing."]
    lines += ["", "## Files in this directory", ""]
    for pattern, meaning in FILES.items():
        for path in sorted(workdir.glob(pattern)):
            lines.append(f"- `{path.relative_to(workdir).as_posix()}`: {meaning}")
    lines += ["", "## What to do with it", ""]
    lines += [f"    {printable(facts['evaluate'])}", ""]
    write_text(workdir / "README.md", "\n".join(lines))


def _headline(results: Mapping[str, Any]) -> str:
    if not results:
        return "Not evaluated yet."
    split, result = next(iter(results.items()))
    return (
        f"{100 - result['top1_error']:.2f} % of {result['num_examples']:,} "
        f"{printable(split)} images are classified correctly."
    )


def _results(workdir: Path) -> dict[str, Any]:
    """Returns eval/results.json, the test split first."""
    results = _json(workdir / "eval" / "results.json")
    return dict(sorted(results.items(), key=lambda item: item[0] != "test"))


def _epochs(workdir: Path) -> list[dict[str, Any]]:
    """Returns the rows of metrics.csv as numbers; "best" marks the lowest error."""
    epochs: list[dict[str, Any]] = [
        {name: float(value) if value else math.nan for name, value in row.items()}
        for row in _rows(workdir / "metrics.csv")
    ]
    known = [row for row in epochs if not math.isnan(row["validation_top1_error"])]
    # The last of equals, like the best checkpoint.
    best = min(
        reversed(known), key=lambda row: row["validation_top1_error"], default=None
    )
    return [row | {"best": row is best} for row in epochs]


def _classes(workdir: Path, split: str | None) -> list[dict[str, Any]]:
    """Counts images and mistakes of each class of a split, the worst class first."""
    names = _class_names(workdir)
    images: Counter[int] = Counter()
    mistakes: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for row in _rows(workdir / "eval" / f"predictions_{split}.csv"):
        label, prediction = int(row["label"]), int(row["prediction"])
        names.setdefault(label, row["label_name"])
        names.setdefault(prediction, row["prediction_name"])
        images[label] += 1
        if label != prediction:
            mistakes[label][prediction] += 1
    classes = [
        {
            "name": names[label],
            "images": images[label],
            "error": 100 * mistakes[label].total() / images[label],
            "taken_for": [
                (names[prediction], count)
                for prediction, count in mistakes[label].most_common(3)
            ],
        }
        for label in sorted(images)
    ]
    return sorted(classes, key=lambda row: -row["error"])


def _class_names(workdir: Path) -> dict[int, str]:
    """Returns the names of the classes by number; empty before the run has them."""
    try:
        return dict(enumerate(read_classes(workdir)))
    except UsageError:
        return {}


def _num_classes(workdir: Path) -> int:
    return len(_class_names(workdir)) or 1000


def _pictures(workdir: Path) -> dict[str, str]:
    """Returns the data URI of each picture that exists."""
    kinds = {".png": "image/png", ".jpg": "image/jpeg"}
    return {
        path.stem: f"data:{kinds[path.suffix]};base64,"
        + base64.b64encode(path.read_bytes()).decode()
        for path in (workdir / name for name in FILES if name.startswith("plots/"))
        if path.exists()
    }


def _settings(workdir: Path) -> list[tuple[str, str]]:
    flat = settings.flatten(_json(workdir / "config.json"))
    return [(key, json.dumps(flat[key], ensure_ascii=False)) for key in flat]


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return list(csv.DictReader(file))


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if math.isfinite(value) else "-"
