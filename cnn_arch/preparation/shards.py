"""The files of a data set: each gets its name when it is complete."""

import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_module import (
    ArrayRecordReader,
    ArrayRecordWriter,
)

from cnn_arch.errors import RunError
from cnn_arch.files import draft_of, sync, write_text
from cnn_arch.parallel import cores
from cnn_arch.preparation.plan import Part, Plan
from cnn_arch.screen import Progress

FORMAT = "array_record"
OPTIONS = "group_size:1"  # each record can be read by itself
CONTINUES = "the same command continues, the finished files are kept"


class _StoppedError(Exception):
    """Another part has failed, or the user stops."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """A part and its file."""

    part: Part
    path: Path

    @property
    def facts_path(self) -> Path:
        """The path of what is known about the content; written before the file."""
        return self.path.with_name(f"{self.path.name}.json")


def find_shards(plan: Plan, folder: Path) -> list[Shard]:
    """Returns the files of a data set, in the order of its parts."""
    splits = [part.split for part in plan.parts]
    shards = []
    for number, part in enumerate(plan.parts):
        count = splits.count(part.split)
        place = splits[:number].count(part.split)
        stem = f"{plan.name}-{part.split}.{FORMAT}"
        shards.append(Shard(part, folder / f"{stem}-{place:05}-of-{count:05}"))
    return shards


def write_shards(plan: Plan, left: Sequence[Shard], progress: Progress) -> None:
    """Writes the files that are left, several at a time."""
    features = tfds.features.FeaturesDict(dict(plan.features))
    stop, lock = threading.Event(), threading.Lock()

    def tick() -> None:
        if stop.is_set():
            raise _StoppedError
        with lock:
            progress.advance()

    with ThreadPoolExecutor(cores.usable()) as pool:
        try:
            futures = [
                pool.submit(_write_shard, shard, features, tick) for shard in left
            ]
            for future in as_completed(futures):
                future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _write_shard(shard: Shard, features: Any, tick: Callable[[], None]) -> None:
    """Writes one file, which then gets its name."""
    draft = draft_of(shard.path)
    digest, labels, num_bytes = hashlib.sha256(), [], 0
    try:
        writer = ArrayRecordWriter(str(draft), OPTIONS)
        for example in shard.part.read():
            tick()
            record = features.serialize_example(example)
            writer.write(record)
            digest.update(record)
            num_bytes += len(record)
            labels.append(int(example["label"]))
        writer.close()
        _check_draft(draft, len(labels))
        sync(draft)
        facts = {"num_bytes": num_bytes, "sha256": digest.hexdigest(), "labels": labels}
        write_text(shard.facts_path, json.dumps(facts))
        os.replace(draft, shard.path)
    except (OSError, RuntimeError) as error:  # the latter of array_record
        reason = getattr(error, "strerror", None) or str(error).partition(";")[0]
        raise RunError(f"{shard.path}: {reason}; {CONTINUES}") from error
    finally:
        draft.unlink(missing_ok=True)


def _check_draft(draft: Path, num_records: int) -> None:
    """Checks that all records are in the file: a full disk may go unnoticed."""
    reader = ArrayRecordReader(str(draft))
    found = reader.num_records()
    reader.close()
    if found != num_records:
        raise OSError(None, f"has {found:,} of {num_records:,} records")
