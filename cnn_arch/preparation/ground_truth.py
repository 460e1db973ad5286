"""What ImageNet's validation images show, by TFDS's copy of the challenge's lists.

The development kit has the same, in a MATLAB file; TFDS's lists need no program.
"""

import csv
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from cnn_arch.errors import UsageError

DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"  # in the development kit
SOLUTION = "LOC_val_solution.csv"  # Kaggle's
VALIDATION_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")


def read_list(name: str) -> list[str]:
    """Reads a list that comes with TFDS."""
    path = tfds.core.tfds_path(f"datasets/imagenet2012/{name}")
    return path.read_text().split()


def check(source: Path, given: str, truth: Sequence[str]) -> None:
    """Compares Kaggle's ground truth and the development kit's, if they are there.

    The kit has numbers of its own for the classes: equal numbers are one class.

    Raises:
      UsageError: they differ from TFDS's.
    """
    file, wrong = "", False
    if (source / SOLUTION).is_file():
        file = SOLUTION
        text = (source / SOLUTION).read_text("utf-8", errors="replace")
        rows = [row for row in csv.reader(text.splitlines()) if len(row) == 2][1:]
        wrong = any(
            not (match := VALIDATION_NAME.fullmatch(f"{name}.JPEG"))
            or truth[int(match[1]) - 1 : int(match[1])] != answer.split()[:1]
            for name, answer in rows
        )
    elif (source / DEVKIT).is_file():
        file = DEVKIT
        answers = _read_devkit(source / DEVKIT)
        pairs = set(zip(answers, truth, strict=False))
        wrong = len(answers) != len(truth) or len(pairs) != len(set(truth))
    if wrong:
        raise UsageError(
            f"{given}: {file} has another ground truth than that of 2012; get it again"
        )


def _read_devkit(path: Path) -> list[str]:
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                if member.isreg() and Path(member.name).name == TRUTH:
                    file = archive.extractfile(member)
                    return file.read(2**20).decode().split() if file else []
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise UsageError(f"{path}: damaged ({error}); download it again") from None
    return []
