"""Ensembles for docs/results.md: of the runs of accuracy.py, and of published networks.

Both are evaluations by eval.py. Those that are recorded are not repeated.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import rounds

RESNETS = ("resnet20", "resnet32", "resnet44", "resnet56")
IMAGENET = {"mean": "(123.675,116.28,103.53)", "std": "(58.395,57.12,57.375)"}
SETTINGS = [
    "--config.data.normalisation=channels",
    *(f"--config.data.{key}={numbers}" for key, numbers in IMAGENET.items()),
]
Row = dict[str, Any]  # of the page: an ensemble and its members


def evaluate(*words: str) -> dict[str, Any]:
    """Runs eval.py; returns what it prints as JSON.

    Raises:
      SystemExit: it failed.
    """
    command = [sys.executable, "eval.py", *words, "--json"]
    ended = subprocess.run(command, cwd=rounds.ROOT, stdout=subprocess.PIPE)
    if ended.returncode:
        raise SystemExit(ended.returncode)
    return json.loads(ended.stdout)


def of_runs(workdirs: Sequence[Path], protocols: Sequence[str]) -> list[Row]:
    """Returns a row for each protocol: of the runs, and of their mean.

    Probabilities that a run has already saved are not computed again.
    """
    rows = []
    for protocol in protocols:
        suffix = f"_{protocol}" if protocol else ""
        files = [path / "eval" / f"probabilities_test{suffix}.npz" for path in workdirs]
        chosen = [f"--protocol={protocol}"] if protocol else []
        for path, file in zip(workdirs, files, strict=True):
            if not file.exists():
                evaluate(f"--workdir={path}", *chosen, "--save_probabilities")
        rows.append(_row(_average(files)))
    return rows


def of_published(resnets: Path, cifar: str) -> Row:
    """Returns a row of Idelbayev's ResNets for CIFAR-10, which are not trained here."""
    folder = rounds.ROOT / "runs" / "results" / "published"
    files = []
    for name in RESNETS:
        files.append(folder / name / "eval" / "probabilities_test.npz")
        if not files[-1].exists():
            words = words_of(name, resnets / f"{name}.th", cifar)
            evaluate(*words, f"--workdir={folder / name}")
    return _row(_average(files))


def _average(files: Sequence[Path]) -> dict[str, Any]:
    return evaluate(f"--average_of={','.join(map(str, files))}")


def words_of(name: str, weights: Path, cifar: str) -> list[str]:
    """Returns the words of eval.py for a published network."""
    return [
        f"--config=configs/{name}.py:folder",
        *SETTINGS,
        f"--weights={weights}",
        f"--data_dir={cifar}",
        "--save_probabilities",
    ]


def _row(answer: Mapping[str, Any]) -> Row:
    members = answer["members"]
    return {
        "protocol": members[0]["protocol"],
        "errors": [member["top1_error"] for member in members],
        "mean_error": answer["top1_error"],
        "num_test_images": answer["num_examples"],
    }


def table(rows: Mapping[str, Sequence[Row]]) -> str:
    """Returns a table of ensembles by the names of their recipes."""
    lines = [
        "| networks | views of an image | each | their mean |",
        "|---|---|---|---|",
    ]
    for name, found in rows.items():
        for row in found:
            low, high = min(row["errors"]), max(row["errors"])
            lines.append(
                f"| {len(row['errors'])} of {name} | {row['protocol']} "
                f"| {low:.2f} to {high:.2f} % | {row['mean_error']:.2f} % |"
            )
    return "\n".join(lines)


def section_of_published(row: Row) -> str:
    """Returns the page's part on the published networks."""
    lines = ["| network | test error |", "|---|---|"]
    for name, error in zip(RESNETS, row["errors"], strict=True):
        lines.append(f"| {name} | {error:.2f} % |")
    lines.append(f"| the mean of the {len(RESNETS)} | {row['mean_error']:.2f} % |")
    command = shlex.join(
        ["python", "eval.py", *words_of("resnet20", Path("resnet20.th"), "cifar10")]
    )
    return "\n\n".join(
        [
            "## Published ResNets as an ensemble",
            "\n".join(lines),
            "Y. Idelbayev's networks "
            "([pytorch_resnet_cifar10](https://github.com/akamaster/"
            "pytorch_resnet_cifar10)), read from his files and not trained here. He "
            "trained on CIFAR-10's own images; these errors are on a JPEG copy "
            f"(quality about 75) of the {row['num_test_images']:,} test images.",
            f"```\n{command}\n```",
        ]
    )
