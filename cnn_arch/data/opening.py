"""Opens the data of a command: finds, checks and reports it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from cnn_arch import run_directory
from cnn_arch.data.sources import DataConfig, Dataset, load_dataset
from cnn_arch.data.views import small_views
from cnn_arch.errors import UsageError
from cnn_arch.models.build import build_model, check_image_size
from cnn_arch.parallel import processes
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen, printable

UNBALANCED = 20  # largest class / smallest; above it comes a warning


def check_images(config: ConfigDict) -> None:
    """Checks that the images are not too small for the network.

    Raises:
      UsageError: they are; the message has the smallest size that works.
    """
    data = config.data
    model = build_model(config, data.num_classes or 1000)
    check_image_size(model, config.model.name, data.image_size, data.channels)


def open_split(config: ConfigDict, split: str, screen: Screen) -> Dataset:
    """Finds and reports the data, and checks that it suits the network.

    Raises:
      UsageError: the data is not there, does not have the split, or its images are too
        small for the network.
    """
    check_images(config)
    dataset = load_dataset(config.data)
    say_data(dataset, config.data, screen)
    if split not in dataset.splits:
        raise UsageError(
            f"--split={split}: {dataset.name} has no such split; choose one "
            f"of {', '.join(dataset.splits)}"
        )
    return dataset


def describe_data(dataset: Dataset) -> str:
    """Returns one line: the sizes of the splits and the number of classes."""
    names = {"train": "train", "validation": "val", "test": "test"}
    sizes = "  ".join(
        f"{names[split]} {len(source):,}" for split, source in dataset.splits.items()
    )
    return f"{printable(dataset.name)}: {sizes}; {dataset.num_classes:,} classes"


def say_data(dataset: Dataset, data: DataConfig, screen: Screen) -> None:
    """Reports the data; of a folder, also its largest and smallest class."""
    screen.say("data", describe_data(dataset))
    for line in small_views(data):
        screen.warn(line)
    if data.source != "folder":  # TFDS's data sets are well known, and slow to count
        return
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
            f"{names[smallest]}: the network may ignore a small class"
        )


def say_skipped(names: Sequence[str] | set[str], screen: Screen) -> None:
    """Warns of images that could not be read: their number, and the first name."""
    if names:
        first = printable(min(names))
        screen.warn(f"{len(names)} broken images were skipped, {first} the first")


def claim_directory(run: Run, config: ConfigDict, dataset: Dataset) -> None:
    """Makes the directory of a run and writes its config, classes and split files.

    Raises:
      UsageError: a process has other data, or the data changed after the run started.
    """
    processes.check_same("the data", dataset.fingerprint)
    if jax.process_index() == 0:
        run_directory.check_same_data(run.workdir, dataset.fingerprint)
        names, rows = dataset.class_names, dataset.split_rows
        run_directory.create(run.workdir, config, names, rows)
    run.screen.log_to(run.workdir / "log.txt")


def check_classes(dataset: Dataset, class_names: Sequence[str], workdir: Path) -> None:
    """Checks that the data has the network's classes, in the same order.

    Raises:
      UsageError: the classes differ.
    """
    if list(dataset.class_names) != list(class_names):
        raise UsageError(
            f"--workdir={workdir}: the data has other classes than the run; "
            "give the run's data with --data_dir"
        )
