import gc
import threading
import time

import numpy as np
import pytest
from PIL import Image

from cnn_arch.data import loading, sources, transforms, views
from cnn_arch.data.bundled import ArraySource
from cnn_arch.errors import RunError, UsageError

CROPS = "none pad_crop affine random_resized_crop scale_jitter_crop ten_crop".split()


@pytest.fixture
def array_source():
    """Returns 40 images; the corner pixel of each is its label, its index."""
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    images[:, 0, 0] = np.arange(40)[:, None]
    labels = np.arange(40, dtype=np.int32)
    return ArraySource(images, labels, [f"image[{i}]" for i in range(40)])


def train_batches(source, data, batch_size=8, *, seed=0, share=(0, 1)):
    return loading.TrainBatches(
        source, data, seed=seed, batch_size=batch_size, share=share
    )


def joined(parts):
    """Joins the batches of several processes to global batches."""
    return [
        {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
        for batches in zip(*parts, strict=True)
    ]


def assert_equal(batches, expected):
    for batch, other in zip(batches, expected, strict=True):
        assert batch.keys() == other.keys()
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key])


# Training batches.


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("crop", CROPS)
def test_batch_depends_on_seed_and_step_alone(photos, crop, in_memory):
    steps = range(3, 12)  # two epochs and a border
    data, splits = photos(train_crop=crop, in_memory=in_memory)
    source = splits["train"]
    whole = train_batches(source, data, seed=1)
    expected = [whole.batch(step) for step in steps]
    assert expected[0]["image"].shape == (8, 16, 16, 3)
    assert expected[0]["image"].dtype == np.uint8
    assert expected[0]["label"].dtype == np.int32

    for num_threads in (1, 2, 5):
        data, _ = photos(train_crop=crop, in_memory=in_memory, num_threads=num_threads)
        threaded = train_batches(source, data, seed=1)
        assert_equal(threaded.iterate(3, 12), expected)
    assert_equal([threaded.batch(step) for step in reversed(steps)], expected[::-1])

    for count in (2, 4):
        parts = [
            train_batches(source, data, seed=1, share=(i, count)) for i in range(count)
        ]
        union = joined([part.batch(step) for step in steps] for part in parts)
        assert_equal(union, expected)

    other = train_batches(source, data, seed=2)
    assert (other.batch(3)["image"] != expected[0]["image"]).any()


def test_an_epoch_has_each_example_once(array_source, data_config):
    data = data_config(train_crop="none", flip=False, in_memory=True)
    batches = train_batches(array_source, data)
    assert batches.steps_per_epoch == 5
    orders = []
    for epoch in range(3):
        epoch_batches = list(batches.iterate(5 * epoch, 5 * epoch + 5))
        labels = np.concatenate([batch["label"] for batch in epoch_batches])
        images = np.concatenate([batch["image"] for batch in epoch_batches])
        np.testing.assert_array_equal(images[:, 0, 0, 0], labels)
        assert sorted(labels) == list(range(40))
        orders.append(labels.tolist())
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_the_remainder_is_left_out(array_source, data_config):
    data = data_config(train_crop="none", in_memory=True)
    batches = train_batches(array_source, data, 12)
    assert batches.steps_per_epoch == 3
    labels = np.concatenate([batch["label"] for batch in batches.iterate(0, 3)])
    assert len(set(labels.tolist())) == 36


def test_whole_images_are_left_for_the_device_to_mirror(array_source, data_config):
    data = data_config(train_crop="pad_crop", in_memory=True)
    batch = train_batches(array_source, data, 40).batch(0)
    np.testing.assert_array_equal(batch["image"], array_source.images[batch["label"]])


def test_half_of_the_cut_images_are_flipped(photos):
    straight, mirrored = (
        train_batches(splits["train"], data, 36)
        for data, splits in (photos(flip=False), photos(flip=True))
    )
    num_flipped = 0
    for step in range(50):
        image, other = straight.batch(step)["image"], mirrored.batch(step)["image"]
        is_straight = (image == other).all((1, 2, 3))
        is_flipped = (image[:, :, ::-1] == other).all((1, 2, 3))
        assert (is_straight ^ is_flipped).all()
        num_flipped += is_flipped.sum()
    assert 800 < num_flipped < 1000  # of 1,800; standard deviation 21


@pytest.mark.parametrize(
    ("fit", "height"), [("resize", 16), ("resize", 20), ("pad", 12), ("pad", 20)]
)
def test_images_in_memory_are_fitted(data_config, fit, height):
    images = np.random.default_rng(0).integers(0, 256, (8, height, 14, 1), np.uint8)
    source = ArraySource(images, np.arange(8, dtype=np.int32), list("abcdefgh"))
    data = data_config(
        train_crop="none", flip=False, in_memory=True, fit=fit, channels=1
    )
    batch = train_batches(source, data).batch(0)
    order = batch["label"]
    expected = views.load_examples(source, order, data)
    np.testing.assert_array_equal(batch["image"], expected)
    if (fit, height) == ("pad", 12):
        np.testing.assert_array_equal(expected[:, 2:14, 1:15], images[order])
        assert expected.sum() == images.sum()


def test_encoded_images_are_cropped_by_the_random_numbers_of_the_step(photos):
    data, splits = photos(flip=False)
    batch = train_batches(splits["train"], data, seed=5).batch(7)
    order = np.random.default_rng((5, loading.ORDER, 1)).permutation(36)[24:32]
    uniforms = np.random.default_rng((5, loading.AUGMENTATION, 7)).random((8, 23))
    for row, index in enumerate(order):
        image = np.asarray(Image.open(splits["train"].name(index)))
        expected = transforms.random_resized_crop(
            image, uniforms[row, :22], size=16, min_area=0.08
        )
        np.testing.assert_array_equal(batch["image"][row], expected)


@pytest.mark.parametrize(
    ("batch_size", "fields", "text"),
    [
        (41, {}, "--config.batch_size=41: more than the 40 training images; "),
        (9, {}, "--config.batch_size=9: must be a multiple of the 2 processes"),
        (8, {"train_crop": "scale_jitter_crop", "scale_min": 15}, "scale_min=15: must"),
        (8, {"in_memory": False, "eval_resize": 15}, "eval_resize=15: must be at"),
    ],
)
def test_settings_that_cannot_work(array_source, data_config, batch_size, fields, text):
    data = data_config(**({"in_memory": True} | fields))
    with pytest.raises(UsageError) as caught:
        train_batches(array_source, data, batch_size, share=(0, 2))
    assert text in str(caught.value)


# Broken images.


def break_image(source, index):
    """Cuts the end off a file: only decoding finds this damage."""
    path = source.name(index)
    with open(path, "rb+") as file:
        file.truncate(source.stats[index, 0] - 100)
    return path


def test_a_broken_image_stops(photos):
    data, splits = photos()
    path = break_image(splits["train"], 3)
    batches = train_batches(splits["train"], data, 36)
    with pytest.raises(RunError, match=rf"{path}: not a .* \(1 of 36 files\)"):
        list(batches.iterate(0, 2))
    assert wait_for_threads()
    break_image(splits["test"], 0)
    with pytest.raises(RunError, match="skip_broken=true"):
        list(loading.evaluation_batches(splits["test"], data, 4))


def test_a_broken_image_is_skipped(photos):
    data, splits = photos(skip_broken=True, train_crop="none", flip=False)
    whole = train_batches(splits["train"], data, 36).batch(0)
    order = np.random.default_rng((0, loading.ORDER, 0)).permutation(36)
    path = break_image(splits["train"], 35)
    batches = train_batches(splits["train"], data, 36)
    batch = batches.batch(0)
    assert batches.skipped == {path}
    broken, following = np.flatnonzero(order == 35), np.flatnonzero(order == 0)
    for key in batch:
        others = np.arange(36) != broken
        np.testing.assert_array_equal(batch[key][others], whole[key][others])
        np.testing.assert_array_equal(batch[key][broken], batch[key][following])


def test_all_images_broken(photos):
    data, splits = photos(skip_broken=True)
    for i in range(36):
        break_image(splits["train"], i)
    batches = train_batches(splits["train"], data)
    with pytest.raises(RunError, match="none of the 36 training images is"):
        batches.batch(0)


# Evaluation.


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("batch_size", [4, 11, 16])
def test_evaluation_has_each_example_once(photos, batch_size, in_memory):
    data, splits = photos(in_memory=in_memory)
    source = splits["test"]
    batches = list(loading.evaluation_batches(source, data, batch_size))
    assert len(batches) == -(-11 // batch_size)
    image, label, mask = (
        np.concatenate([batch[key] for batch in batches])
        for key in ("image", "label", "mask")
    )
    assert mask.tolist() == [True] * 11 + [False] * (len(mask) - 11)
    np.testing.assert_array_equal(label[:11], source.labels)
    assert not label[11:].any()
    assert not image[11:].any()
    for i in range(11):
        original, _ = sources.read_image(source, i, data)
        assert original is not None
        np.testing.assert_array_equal(image[i], views.evaluation_view(original, data))


def test_evaluation_by_processes(photos):
    data, splits = photos()
    whole = loading.evaluation_batches(splits["test"], data, 4)
    parts = [
        loading.evaluation_batches(splits["test"], data, 4, (i, 2)) for i in range(2)
    ]
    assert_equal(joined(parts), whole)


def test_evaluation_skips_a_broken_image(photos):
    data, splits = photos(skip_broken=True)
    break_image(splits["test"], 4)
    batches = list(loading.evaluation_batches(splits["test"], data, 11))
    assert batches[0]["mask"].tolist() == [i != 4 for i in range(11)]
    assert not batches[0]["image"][4].any()


# Threads.


def has_threads():
    return any("grain" in thread.name for thread in threading.enumerate())


def wait_for_threads():
    """Returns whether the threads of the loader end within five minutes."""
    deadline = time.monotonic() + 300
    while has_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not has_threads()


@pytest.mark.parametrize("end", ["exhausted", "closed", "forgotten", "error"])
@pytest.mark.parametrize("in_memory", [False, True])
def test_threads_end_with_the_iterator(photos, end, in_memory):
    data, splits = photos(in_memory=in_memory, num_threads=2)
    stream = train_batches(splits["train"], data).iterate(
        0, 6 if end == "exhausted" else 10_000
    )
    assert has_threads()  # already at work
    next(stream)
    if end == "exhausted":
        assert len(list(stream)) == 5
    elif end == "closed":
        stream.close()
    elif end == "error":
        with pytest.raises(ZeroDivisionError):
            for batch in stream:
                batch["label"][0] = 1 // 0
    if end in ("forgotten", "error"):
        del stream
        gc.collect()
    assert wait_for_threads()


def test_an_iterator_that_was_never_started_leaves_no_threads(photos):
    data, splits = photos()
    stream = loading.evaluation_batches(splits["test"], data, 4)
    del stream
    gc.collect()
    assert wait_for_threads()
