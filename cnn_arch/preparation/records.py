"""Writes a data set as TFDS's array_record files; what is finished survives a kill.

Each part becomes one file, which gets its name when it is complete. Only the folder of
a complete data set has the name under which it is found.

TFDS's own writer needs TensorFlow for some sets, shuffles everything through temporary
files and starts anew after a kill. The files here are read by TFDS as its own.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_info, naming

from cnn_arch.data.records import LABELS
from cnn_arch.errors import UsageError
from cnn_arch.files import (
    free_bytes,
    make_folder,
    read_json,
    sync,
    write_csv,
    write_text,
)
from cnn_arch.folders import PREPARED
from cnn_arch.lock import NO_LOCKS
from cnn_arch.preparation.plan import Plan, check_counts
from cnn_arch.preparation.shards import (
    CONTINUES,
    FORMAT,
    Shard,
    find_shards,
    write_shards,
)
from cnn_arch.screen import Screen

CLASSES = "classes.csv"
PLAN = "plan.json"  # in the folder of an unfinished data set
SPARE = 1.05  # times the images, for the files' own bytes


def write(plan: Plan, given: str, screen: Screen) -> bool:
    """Writes a data set, or continues; ``given`` is the option with the folder.

    Returns:
      Whether there was something to write.

    Raises:
      UsageError: the folder has another data set, the disk is too small, another
        command writes there, or the images are not the published ones.
      RunError: the disk fails.
    """
    folder = plan.folder.with_name(f"{plan.folder.name}.unfinished")
    make_folder(folder.parent, given)
    with _alone(folder, given, screen):
        if _is_written(plan, given):
            return False
        make_folder(folder, given)
        shards = find_shards(plan, folder)
        left = [shard for shard in shards if not shard.path.exists()]
        _check_space(plan, left, given)
        try:
            _begin(plan, folder, screen)
            _write(plan, shards, left, screen)
        except KeyboardInterrupt:
            screen.row(f"stopped; {CONTINUES}", last=True)
            raise
        _finish(plan, shards, folder)
    return True


def describe(plan: Plan) -> dict[str, Any]:
    """Returns what distinguishes this data set from others of its name."""
    return {
        "name": plan.name,
        "config": plan.config,
        "version": plan.version,
        "origin": plan.origin,
        "num_images": dict(plan.num_images),
        "num_files": len(plan.parts),
    }


def _is_written(plan: Plan, given: str) -> bool:
    """Returns whether this very data set is complete.

    Raises:
      UsageError: its folder has something else.
    """
    if not os.path.lexists(plan.folder) or _is_empty(plan.folder):
        return False
    with contextlib.suppress(OSError, ValueError, AttributeError):
        there = read_json(plan.folder / PREPARED)
        if describe(plan).items() <= there.items():
            return True
    raise UsageError(
        f"{given}: {plan.folder} is there already, from another source; train on it, "
        "delete it, or choose another --to"
    )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


@contextlib.contextmanager
def _alone(folder: Path, given: str, screen: Screen) -> Iterator[None]:
    """Lets one command write in a folder.

    Raises:
      UsageError: another command does.
    """
    lock = filelock.FileLock(folder.with_suffix(".lock"), fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UsageError(
            f"{given}: another command writes {folder}; wait for its end"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise UsageError(
                f"{given}: {error.strerror}; choose another --to"
            ) from None
        screen.warn(f"{folder.parent}: its disk has no locks; start no second command")
    try:
        yield
    finally:
        lock.release()


def _check_space(plan: Plan, left: Sequence[Shard], given: str) -> None:
    needed = round(SPARE * sum(shard.part.num_bytes for shard in left))
    free = free_bytes(plan.folder)
    if needed > free:
        raise UsageError(
            f"{given}: {free / 2**30:,.1f} GiB are free, about "
            f"{needed / 2**30:,.1f} GiB are needed; free some space, or choose "
            "another --to"
        )


def _begin(plan: Plan, folder: Path, screen: Screen) -> None:
    """Compares checksums, once, and notes what the folder will have.

    Raises:
      UsageError: the folder is of another source, or the images are not the published.
    """
    path = folder / PLAN
    if not path.exists():
        plan.check(screen)
        write_text(path, json.dumps(describe(plan), indent=2) + "\n")
        return
    with contextlib.suppress(OSError, ValueError):
        if read_json(path) == describe(plan):
            return
    raise UsageError(
        f"{folder}: was begun from another source, or with another number of files; "
        "delete it to begin anew, or choose another --to"
    )


def _write(
    plan: Plan, shards: Sequence[Shard], left: Sequence[Shard], screen: Screen
) -> None:
    """Writes the files that are left."""
    done = [shard for shard in shards if shard not in left]
    num_done = sum(len(read_json(shard.facts_path)["labels"]) for shard in done)
    if done:
        screen.say("resume", f"{num_done:,} images are written already")
    num_left = sum(plan.num_images.values()) - num_done
    with screen.progress("images", num_left) as progress:
        write_shards(plan, left, progress)


def _finish(plan: Plan, shards: Sequence[Shard], folder: Path) -> None:
    """Writes what describes the files, and gives the folder its name."""
    digest, labels = hashlib.sha256(), {split: [] for split in plan.num_images}
    files: dict[str, list[tuple[int, int]]] = {split: [] for split in labels}
    for shard in shards:
        facts = read_json(shard.facts_path)
        digest.update(facts["sha256"].encode())
        labels[shard.part.split] += facts["labels"]
        files[shard.part.split].append((len(facts["labels"]), facts["num_bytes"]))
    found = {split: len(each) for split, each in labels.items()}
    check_counts(str(folder), found, plan.num_images)
    _write_info(plan, folder, files)
    if plan.classes:
        write_csv(folder / CLASSES, plan.classes)
    arrays = {split: np.array(each, np.int32) for split, each in labels.items()}
    np.savez(folder / LABELS, allow_pickle=False, **arrays)
    facts = describe(plan) | {"sha256": digest.hexdigest()}
    write_text(folder / PREPARED, json.dumps(facts, indent=2) + "\n")
    sync(folder)
    os.rename(folder, plan.folder)
    sync(plan.folder.parent)
    # What only a continued command needs.
    for name in (PLAN, *(shard.facts_path.name for shard in shards)):
        (plan.folder / name).unlink(missing_ok=True)


def _write_info(
    plan: Plan, folder: Path, files: dict[str, list[tuple[int, int]]]
) -> None:
    """Writes TFDS's dataset_info.json and features.json.

    Args:
      plan: the data set.
      folder: of its files.
      files: number of images and bytes of each file, for each split.
    """
    identity = dataset_info.DatasetIdentity(
        name=plan.name,
        version=tfds.core.Version(plan.version),
        data_dir=str(folder),
        module_name="",
        config_name=plan.config or None,
    )
    template = naming.ShardedFileTemplate(
        data_dir=folder, dataset_name=plan.name, filetype_suffix=FORMAT
    )
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[length for length, _ in of_split],
            num_bytes=sum(size for _, size in of_split),
            filename_template=template,
        )
        for split, of_split in files.items()
    ]
    info = dataset_info.DatasetInfo(
        builder=identity,
        description="Written by cnn_arch's prepare.py.",
        features=tfds.features.FeaturesDict(dict(plan.features)),
        supervised_keys=("image", "label"),
        split_dict=tfds.core.splits.SplitDict(splits),
    )
    info.set_file_format(FORMAT)
    info.write_to_directory(folder)
