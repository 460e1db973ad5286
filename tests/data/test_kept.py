"""Training images that are decoded once: the same batches, within the memory."""

import shutil
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from ml_collections import ConfigDict

from cnn_arch.data import kept
from cnn_arch.data.decoding import decode
from cnn_arch.data.loading import TrainBatches
from cnn_arch.errors import RunError
from cnn_arch.parallel import memory
from cnn_arch.parallel.mesh import make_mesh

EPOCH, ALL = 3, 36  # steps with batches of 12; images


def batches_of(source, data, room):
    return TrainBatches(source, data, seed=0, batch_size=12, room=room)


def sizes_of(source, data):
    return [
        decode(source.example(index)[0], data.channels, shown=True).nbytes
        for index in range(len(source))
    ]


CROPS = "random_resized_crop", "scale_jitter_crop", "square_crop", "ten_crop", "none"


@pytest.mark.parametrize("crop", CROPS)
def test_the_second_epoch_needs_no_file(photos, crop):
    data, splits = photos(train_crop=crop)
    source = splits["train"]
    plain, keeping = (batches_of(source, data, room) for room in (0, 2**30))
    expected = [plain.batch(step) for step in range(3 * EPOCH)]
    first = [keeping.batch(step) for step in range(EPOCH)]
    shutil.rmtree(data.dir)
    later = [keeping.batch(step) for step in range(EPOCH, 3 * EPOCH)]
    for batch, other in zip([*first, *later], expected, strict=True):
        np.testing.assert_array_equal(batch["image"], other["image"])
        np.testing.assert_array_equal(batch["label"], other["label"])
    with pytest.raises(RunError):
        plain.batch(EPOCH)


def test_all_are_kept_or_none(photos, monkeypatch):
    data, splits = photos(keep_decoded=0.5)
    source = splits["train"]
    needed = sum(sizes_of(source, data))
    monkeypatch.setattr(memory, "available", lambda: 2 * needed)
    assert kept.room_for(source, data) == needed
    monkeypatch.setattr(memory, "available", lambda: 2 * needed - 2)
    assert kept.room_for(source, data) == 0
    data, splits = photos(keep_decoded=0.0)
    monkeypatch.setattr(memory, "available", lambda: 10 * needed)
    assert kept.room_for(splits["train"], data) == 0
    data, splits = photos(keep_decoded=0.5, in_memory=True)
    assert kept.room_for(splits["train"], data) == 0


@pytest.mark.parametrize(
    ("crop", "side"), [("square_crop", 20), ("ten_crop", 20), ("none", 16)]
)
def test_only_what_the_crops_need_is_kept(photos, monkeypatch, crop, side):
    data, splits = photos(train_crop=crop)
    source, needed = splits["train"], ALL * side * side * 3
    monkeypatch.setattr(memory, "available", lambda: 4 * needed)
    assert kept.room_for(source, data) == needed
    monkeypatch.setattr(memory, "available", lambda: 4 * needed - 4)
    assert kept.room_for(source, data) == 0
    images = kept.KeptImages(source, data, needed)
    first, again = ([images.read(i)[0] for i in range(ALL)] for _ in range(2))
    for image, other in zip(first, again, strict=True):
        assert image is other
        assert image is not None and image.shape == (side, side, 3)
        assert image.base is None or image.base.nbytes == image.nbytes


def test_a_run_keeps_them(photos):
    data, splits = photos()
    config = ConfigDict({"data": data, "seed": 0, "batch_size": 12})
    dataset = SimpleNamespace(splits=splits, check=lambda: None)
    make = partial(TrainBatches.of_run, config, dataset, make_mesh(1, 1))
    assert make().room >= sum(sizes_of(splits["train"], data))
    assert make(keep=False).room == 0


def test_a_wrong_estimate_does_not_pass_the_room(photos):
    data, splits = photos()
    source = splits["train"]
    sizes = sizes_of(source, data)
    images = kept.KeptImages(source, data, sizes[0] + sizes[1])
    read, again = (
        [np.asarray(images.read(index)[0]) for index in range(ALL)] for _ in range(2)
    )
    are_kept = [one is other for one, other in zip(read, again, strict=True)]
    assert are_kept == [True, True] + [False] * (ALL - 2)
    with pytest.raises(ValueError, match="read-only"):
        again[0][0, 0] = 1  # later epochs would have it too
