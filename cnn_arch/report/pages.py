"""The two pages of a run, made from the files of its directory: report and README."""

import base64
import csv
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from cnn_arch.files import write_text
from cnn_arch.run_directory import Run
from cnn_arch.screen import printable

TEMPLATES = Path(__file__).parent / "templates"

# What stands in a run directory, in the order in which the README lists it.
FILES = {
    "report.html": "all of it in one page: a double click opens it, without a network",
    "config.json": "every setting of the run, defaults included",
    "environment.txt": "command line, device, packages, git commit",
    "log.txt": "what the run said, with times",
    "metrics.csv": "a row an epoch: losses, errors in percent, learning rate, speed",
    "steps.csv": "a row a training step: loss, learning rate",
    "events.out.tfevents*": "the same for TensorBoard: tensorboard --logdir=.",
    "classes.txt": "the names of the classes, in the order of the network's outputs",
    "split.csv": "which image went to training, validation and test",
    "data_fingerprint.txt": "what the data was; another one is refused on resuming",
    "plots/train_batch.jpg": "images as the network gets them",
    "plots/curves.png": "loss, error and learning rate over the epochs",
    "plots/confusion.png": "which class is taken for which",
    "plots/most_confused.png": "images of the most frequent mistakes",
    "plots/top_losses.jpg": "images with the greatest loss",
    "plots/filters_conv1.png": "the filters of the first layer",
    "eval/results.json": "loss and errors in percent on each split, and how measured",
    "eval/predictions_*.csv": "a row an image: class, prediction, probability, loss",
    "checkpoints/best": "the network with the least validation error",
    "checkpoints/last": "the newest state, from which the same command continues",
    "weights_best.npz": "the best network's parameters; numpy alone reads them",
    "crash.txt": "why the run failed",
}


def make_environment(*folders: Path) -> jinja2.Environment:
    """Returns what renders the templates: everything is escaped, and in one line.

    Args:
      *folders: of further templates, beside those of this package.
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
    """Writes report.html and README.md of a run that ended well, and says so.

    Args:
      run: the run.
      facts: what its files do not say: "command", "device", "data", "model" and
        "evaluate", a line each; and "overrides", a list with one line for each setting
        that differs from the recipe.
    """
    for path in run.workdir.glob("crash*.txt"):  # of any process, of an earlier start
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
    """Writes report.html: one file, no script, nothing remote, pictures inside.

    What the run has not made yet is left out.

    Args:
      workdir: the run directory.
      facts: as for write_pages.
    """
    environment = make_environment()
    results = _results(workdir)
    split = next(iter(results), None)
    page = environment.get_template("report.html").render(
        facts=facts,
        name=workdir.resolve().name,
        headline=_headline(results),
        results=results,
        split=split,
        epochs=_epochs(workdir),
        pictures=_pictures(workdir),
        classes=_classes(workdir, split),
        settings=list(_flatten(_json(workdir / "config.json"))),
        crashed=(workdir / "crash.txt").exists(),
    )
    write_text(workdir / "report.html", page)


def write_readme(workdir: Path, facts: Mapping[str, Any]) -> None:
    """Writes the run's README.md; to be called last, since it lists the files present.

    Args:
      workdir: the run directory.
      facts: as for write_pages.
    """
    results = _results(workdir)
    title = re.sub(r"([^\w\s.,-]|_)", r"\\\1", printable(workdir.resolve().name))
    lines = [f"# {title}", "", _headline(results), ""]
    # Indented lines are shown as they are: no name in them can become markup.
    for label in ("command", "device", "data", "model"):
        lines.append(f"    {label:<8} {printable(facts[label])}")
    for split, result in results.items():
        lines.append(
            f"    {printable(split):<8} top-1 error {result['top1_error']:.2f} %, "
            f"top-5 error {result['top5_error']:.2f} %, loss {result['loss']:.4f}; "
            f"{printable(result['protocol'])}, step {result['checkpoint_step']}"
        )
    lines += ["", "## What differs from the recipe", ""]
    lines += [f"    {printable(line)}" for line in facts["overrides"]] or ["Nothing."]
    lines += ["", "## What lies here", ""]
    for pattern, meaning in FILES.items():
        for path in sorted(workdir.glob(pattern)):
            lines.append(f"- `{path.relative_to(workdir).as_posix()}`: {meaning}")
    lines += [
        "",
        "## What to do with it",
        "",
        f"    {printable(facts['evaluate'])}",
        "",
    ]
    write_text(workdir / "README.md", "\n".join(lines))


def _headline(results: Mapping[str, Any]) -> str:
    if not results:
        return "Not evaluated yet."
    split, result = next(iter(results.items()))
    return (
        f"{100 - result['top1_error']:.2f} % of {result['num_examples']:,} "
        f"{printable(split)} images are classified right."
    )


def _results(workdir: Path) -> dict[str, Any]:
    """Returns eval/results.json, the test split first."""
    results = _json(workdir / "eval" / "results.json")
    return dict(sorted(results.items(), key=lambda item: item[0] != "test"))


def _epochs(workdir: Path) -> list[dict[str, Any]]:
    """Returns the rows of metrics.csv as numbers; "best" marks the least error."""
    epochs: list[dict[str, Any]] = [
        {name: float(value) if value else math.nan for name, value in row.items()}
        for row in _rows(workdir / "metrics.csv")
    ]
    errors = [row["validation_top1_error"] for row in epochs]
    best = min((error for error in errors if not math.isnan(error)), default=None)
    last_best = max((i for i, error in enumerate(errors) if error == best), default=-1)
    for i, row in enumerate(epochs):
        row["best"] = i == last_best  # the last of equals, as the checkpoint
    return epochs


def _classes(workdir: Path, split: str | None) -> list[dict[str, Any]]:
    """Counts images and mistakes of each class of a split, the worst class first."""
    path = workdir / "eval" / f"predictions_{split}.csv"
    names: dict[int, str] = {}
    images: Counter[int] = Counter()
    mistakes: dict[int, Counter[int]] = {}
    for row in _rows(path):
        label, prediction = int(row["label"]), int(row["prediction"])
        names[label], names[prediction] = row["label_name"], row["prediction_name"]
        images[label] += 1
        if label != prediction:
            mistakes.setdefault(label, Counter())[prediction] += 1
    classes = [
        {
            "name": names[label],
            "images": images[label],
            "error": 100 * mistakes.get(label, Counter()).total() / images[label],
            "taken_for": [
                (names[prediction], count)
                for prediction, count in mistakes.get(label, Counter()).most_common(3)
            ],
        }
        for label in sorted(images)
    ]
    return sorted(classes, key=lambda row: -row["error"])


def _pictures(workdir: Path) -> dict[str, str]:
    """Returns the data URI of each picture that the run has made."""
    kinds = {".png": "image/png", ".jpg": "image/jpeg"}
    return {
        path.stem: f"data:{kinds[path.suffix]};base64,"
        + base64.b64encode(path.read_bytes()).decode()
        for path in (workdir / name for name in FILES if name.startswith("plots/"))
        if path.exists()
    }


def _flatten(
    settings: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value, ensure_ascii=False)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return list(csv.DictReader(file))


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if math.isfinite(value) else "-"
