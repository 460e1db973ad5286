"""JPEG files that are decoded at a part of their size (``data.decode_side``)."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from cnn_arch.data import decoding, kept, transforms
from cnn_arch.data.loading import AUGMENTATION, ORDER, TrainBatches
from cnn_arch.errors import UsageError
from cnn_arch.parallel import memory

ALL = 36  # training images


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_decode_a_jpeg_at_a_part_of_its_size(mode, orientation):
    """Pillow's draft mode gives libjpeg's image at 1/2, 1/4 and 1/8."""
    image = cv2.GaussianBlur(noise(163, 201), (9, 9), 0)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(image).convert(mode).save(file, "jpeg", exif=exif)
    encoded = file.getvalue()
    # 163 px: 81.5 at 1/2, 40.75 at 1/4, 20.375 at 1/8.
    for side, part in {0: 1, 82: 1, 81: 2, 41: 2, 40: 4, 21: 4, 20: 8, 1: 8}.items():
        picture = Image.open(io.BytesIO(encoded))
        picture.draft(mode, (201 // part, 163 // part))
        expected = np.asarray(ImageOps.exif_transpose(picture))
        channels = len(picture.getbands())
        decoded = decoding.decode(encoded, channels, shown=True, least_side=side)
        shape = -(-163 // part), -(-201 // part)
        assert decoded.shape[:2] == (shape if orientation == 1 else shape[::-1])
        np.testing.assert_array_equal(decoded.squeeze(), expected)
        found = decoding.image_shape(encoded, shown=True, least_side=side)
        assert found == decoded.shape[:2]


def test_a_png_is_decoded_at_its_size():
    encoded = cv2.imencode(".png", noise(64, 64))[1].tobytes()
    assert decoding.decode(encoded, 3, shown=True, least_side=8).shape == (64, 64, 3)
    assert decoding.image_shape(encoded, shown=True, least_side=8) == (64, 64)


def test_reduced_images_need_less_memory(photos, monkeypatch):
    data, splits = photos(image_size=8, eval_resize=8, decode_side=10)
    source = splits["train"]
    sizes, whole = (
        [
            decoding.decode(encoded, 3, shown=True, least_side=side).nbytes
            for encoded, _ in map(source.example, range(ALL))
        ]
        for side in (10, 0)
    )
    assert sum(sizes) < sum(whole) / 2
    monkeypatch.setattr(memory, "available", lambda: 4 * sum(sizes))
    assert kept.room_for(source, data) == sum(sizes)
    monkeypatch.setattr(memory, "available", lambda: 4 * sum(sizes) - 4)
    assert kept.room_for(source, data) == 0
    images = kept.KeptImages(source, data, sum(sizes))
    read, again = ([images.read(index)[0] for index in range(ALL)] for _ in range(2))
    assert [image is not None and image.nbytes for image in read] == sizes
    assert all(one is other for one, other in zip(read, again, strict=True))


def test_training_images_are_decoded_at_a_part_of_their_size(photos):
    data, splits = photos(image_size=8, eval_resize=10, decode_side=10, flip=False)
    source = splits["train"]
    batch = TrainBatches(source, data, seed=0, batch_size=ALL).batch(0)
    order = np.random.default_rng((0, ORDER, 0)).permutation(ALL)
    shape = ALL, transforms.NUM_CROP_UNIFORMS + 1
    uniforms = np.random.default_rng((0, AUGMENTATION, 0)).random(shape)
    num_reduced = 0
    for row, index in enumerate(order):
        picture = Image.open(source.name(index))
        if is_reduced := min(picture.size) >= 20:
            picture.draft("RGB", (picture.width // 2, picture.height // 2))
        num_reduced += is_reduced
        expected = transforms.random_resized_crop(
            np.asarray(picture), uniforms[row, :22], size=8, min_area=0.08
        )
        np.testing.assert_array_equal(batch["image"][row], expected)
    assert num_reduced == ALL


@pytest.mark.parametrize(
    ("crop", "least"),
    [("random_resized_crop", 16), ("scale_jitter_crop", 24), ("square_crop", 20)],
)
def test_images_are_not_decoded_smaller_than_they_are_cut(photos, crop, least):
    data, splits = photos(train_crop=crop, decode_side=least)
    TrainBatches(splits["train"], data, seed=0, batch_size=12)
    data, splits = photos(train_crop=crop, decode_side=least - 1)
    with pytest.raises(UsageError, match=f"at least {least}, the px that are cut"):
        TrainBatches(splits["train"], data, seed=0, batch_size=12)
