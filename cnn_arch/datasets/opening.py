"""Opens the data of a command: finds, checks and reports it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from cnn_arch import run_directory, same_run, units
from cnn_arch.data import normalisation
from cnn_arch.data.sources import DataConfig
from cnn_arch.data.statistics import with_class_weights, with_counts
from cnn_arch.data.views import small_views
from cnn_arch.datasets import inspection
from cnn_arch.datasets.dataset import Dataset, load_dataset
from cnn_arch.datasets.pictures import Use
from cnn_arch.errors import UsageError
from cnn_arch.models.build import build_model, check_image_size, check_other_size
from cnn_arch.parallel import processes
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen, printable

UNBALANCED = 20  # largest class / smallest; above it comes a warning


def check_images(config: ConfigDict) -> None:
    """Checks that the images are not too small for the network.

    Raises:
      UsageError: they are; the message has the smallest size that works. Or the network
        takes images of one size only, and those for evaluation have another.
    """
    data = config.data
    model = build_model(config, data.num_classes or 1000)
    check_image_size(model, config.model.name, data.image_size, data.channels)
    if data.eval_size not in (0, data.image_size):
        check_other_size(model, config.model.name, data)


def open_for_training(config: ConfigDict, run: Run) -> tuple[Dataset, ConfigDict]:
    """Finds, checks and reports the data of a run.

    Returns:
      The data; and the config with the numbers that are counted from its images.

    Raises:
      UsageError: the data is not there or cannot be used, or it is not the data that
        the run began with.
    """
    check_images(config)
    dataset = load_dataset(config.data, Use(run.screen, run.workdir))
    say_data(dataset, config.data, run.screen)
    source = dataset.splits["train"]
    config = with_class_weights(config, source, dataset.num_classes, run.screen)
    return dataset, with_counts(config, source, run)


def open_split(config: ConfigDict, use: Use) -> Dataset:
    """Finds and reports the data, and checks that it suits the network.

    Raises:
      UsageError: the data is not there, does not have the split, or its images are too
        small for the network; or a run had other data.
    """
    check_images(config)
    dataset = load_dataset(config.data, use)
    say_data(dataset, config.data, use.screen)
    if use.split not in dataset.splits:
        raise UsageError(
            f"--split={use.split}: {dataset.name} has no such split; choose one "
            f"of {', '.join(dataset.splits)}"
        )
    if use.workdir and not same_run.is_same_data(use.workdir, dataset.fingerprint):
        changed = "the data has changed since the run began"
        if not dataset.pictures:
            raise UsageError(
                f"--workdir={use.workdir}: {changed}, and its images may have been "
                "trained on; give the run's data with --data_dir"
            )
        if not (use.workdir / inspection.FILE).exists() and not dataset.skipped:
            use.screen.warn(changed)
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
    for note in dataset.pictures.notes if dataset.pictures else ():
        screen.warn(note)
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
    if most > UNBALANCED * least and data.sampling == "shuffle":
        screen.warn(
            f"{names[largest]} has {most / least:.0f} times the images of "
            f"{names[smallest]}: the network may ignore a small class; see "
            "--config.data.sampling=balanced and --config.class_weights=inverse"
        )


def say_skipped(names: Sequence[str] | set[str], screen: Screen) -> None:
    """Warns of images that could not be read: their number, and the first name."""
    if names:
        first = printable(min(names))
        broken = units.counted(len(names), "broken image")
        screen.warn(f"{broken} skipped, {first} the first")


def claim_directory(run: Run, config: ConfigDict, dataset: Dataset) -> None:
    """Makes the directory of a run and writes its config, classes and split files.

    Images of a folder that are not inspected yet are inspected from now on.

    Raises:
      UsageError: a process has other data, or the data changed after the run started.
    """
    processes.check_same("the data", dataset.fingerprint)
    if processes.index() == 0:
        pictures, table = dataset.pictures, run.workdir / inspection.FILE
        if not pictures:
            same_run.check_same_data(run.workdir, dataset.fingerprint)
        elif pictures.division.is_begun and not table.exists():
            # A run of version 0.1, which did not inspect its images one by one.
            if dataset.skipped:
                run.screen.warn("the other images may not be those of the run's start")
            else:
                same_run.check_same_data(run.workdir, dataset.fingerprint)
        names, rows = dataset.class_names, dataset.split_rows
        run_directory.create(run.workdir, config, names, rows)
        normalisation.write(run.workdir, config.data)
        if pictures:
            pictures.inspection.start(table, run.screen)
    run.screen.log_to(run.workdir / "log.txt")


def finish_inspection(dataset: Dataset, skipped: set[str], run: Run) -> None:
    """Waits until all images are inspected, and names those that were not used.

    Raises:
      RunError: an image is not the one that the run began with.
    """
    if dataset.pictures and not processes.index():
        dataset.pictures.inspection.finish(run.screen)
        dataset.pictures.check_changes()
        run_directory.write_split(run.workdir, dataset.split_rows)
    say_skipped(processes.union(dataset.skipped | skipped), run.screen)


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
