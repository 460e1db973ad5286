"""Opens the data of a command: finds it, checks it against the network, says it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from cnn_arch import run_directory
from cnn_arch.data.sources import Dataset, load_dataset
from cnn_arch.errors import UsageError
from cnn_arch.models.build import build_model, check_image_size
from cnn_arch.parallel import processes
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen, printable

UNBALANCED = 20  # largest class to smallest, from which on a warning is due


def open_data(config: ConfigDict, screen: Screen) -> Dataset:
    """Finds the data, once it is clear that the network can take its images.

    Raises:
      UsageError: an image is too small for the network, or the data is not there.
    """
    data = config.data
    model = build_model(config, data.num_classes or 1000)
    check_image_size(model, config.model.name, data.image_size, data.channels)
    dataset = load_dataset(data)
    screen.say("data", describe_data(dataset))
    if data.source == "folder":  # the sets of TFDS are known, and slow to count
        _say_balance(dataset, screen)
    return dataset


def open_split(config: ConfigDict, split: str, screen: Screen) -> Dataset:
    """Returns the same, once it is clear that the data has a split.

    Raises:
      UsageError: it does not have the split.
    """
    dataset = open_data(config, screen)
    if split not in dataset.splits:
        raise UsageError(
            f"--split={split}: {dataset.name} has no such split; it has "
            f"{', '.join(dataset.splits)}"
        )
    return dataset


def describe_data(dataset: Dataset) -> str:
    """Writes the data in one line: sizes of the splits, number of classes."""
    names = {"train": "train", "validation": "val", "test": "test"}
    sizes = "  ".join(
        f"{names[split]} {len(source):,}" for split, source in dataset.splits.items()
    )
    return f"{printable(dataset.name)}: {sizes}; {len(dataset.class_names):,} classes"


def _say_balance(dataset: Dataset, screen: Screen) -> None:
    """Names the largest and the smallest class of the training split."""
    counts = Counter(dataset.splits["train"].labels.tolist()).most_common()
    (largest, most), (smallest, least) = counts[0], counts[-1]
    names = [printable(name, 20) for name in dataset.class_names]
    screen.say(
        "",
        f"largest class {names[largest]} ({most:,}), "
        f"smallest {names[smallest]} ({least:,})",
    )
    if most > UNBALANCED * least:
        screen.warn(
            f"{names[largest]} has {most / least:.0f} times the images of "
            f"{names[smallest]}: a small class may be ignored"
        )


def say_skipped(names: Sequence[str] | set[str], screen: Screen) -> None:
    """Counts the images that could not be read, and names the first."""
    if names:
        first = printable(min(names))
        screen.warn(f"{len(names)} broken images were skipped, {first} the first")


def claim_directory(run: Run, config: ConfigDict, dataset: Dataset) -> None:
    """Makes the directory of a run and writes down what is known before the first step.

    Raises:
      UsageError: a process has other data, or the data has changed since the run began.
    """
    processes.check_same("the data", dataset.fingerprint)
    if not jax.process_index():
        run_directory.check_same_data(run.workdir, dataset.fingerprint)
        names, rows = dataset.class_names, dataset.split_rows
        run_directory.create(run.workdir, config, names, rows)
    run.screen.log_to(run.workdir / "log.txt")


def check_classes(dataset: Dataset, class_names: Sequence[str], workdir: Path) -> None:
    """Checks that the data's classes are those that a network tells apart.

    Raises:
      UsageError: they are not.
    """
    if list(dataset.class_names) != list(class_names):
        raise UsageError(
            f"--workdir={workdir}: the data's classes are not those of the run; "
            "give the run's data with --data_dir"
        )
