import tracemalloc
from functools import partial

import cv2
import numpy as np
import pytest
from PIL import Image

from cnn_arch.data import transforms


def random_image(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def smooth_image(*shape):
    return cv2.GaussianBlur(random_image(*shape, 3), (15, 15), 0)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(40, 30, (26, 20)), (30, 40, (20, 26)), (20, 33, (20, 33)), (10, 10, (20, 20))],
)
def test_resize_shorter_side(height, width, expected):
    image = random_image(height, width, 3)
    resized = transforms.resize_shorter_side(image, 20)
    assert resized.shape == (*expected, 3)
    picture = Image.fromarray(image).resize(expected[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resized, np.asarray(picture))


def test_resize_shorter_side_of_a_gray_image():
    image = random_image(40, 30, 1)
    in_color = transforms.resize_shorter_side(np.repeat(image, 3, axis=2), 20)
    gray = transforms.resize_shorter_side(image, 20)
    np.testing.assert_array_equal(gray, in_color[..., :1])


def test_centre_crop():
    image = np.arange(7 * 6, dtype=np.uint8).reshape(7, 6, 1)
    # Top: round(1.5) = 2 of 7 - 4 = 3 rows, to even as in torchvision; left: 1 of 2.
    cropped = transforms.centre_crop(image, 4)
    np.testing.assert_array_equal(cropped, image[2:6, 1:5])


def test_pad_to():
    images = random_image(2, 3, 4, 1)
    padded = transforms.pad_to(images, 6)
    assert padded.shape == (2, 6, 6, 1)
    np.testing.assert_array_equal(padded[:, 1:4, 1:5], images)
    assert padded.sum() == images.sum()
    np.testing.assert_array_equal(transforms.pad_to(images[1], 6), padded[1])


def test_random_resized_crop_box_by_hand():
    uniforms = np.zeros(22)
    # First try: the whole area at aspect 4/3 is too wide for a square image.
    uniforms[0:2] = 1, 1
    # Second: area 0.08 + 0.92 * 0.5 = 0.54, aspect 3/4 * (16/9)^0.5 = 1:
    # side sqrt(0.54 * 10,000) = 73.48.
    uniforms[2:4] = 0.5, 0.5
    uniforms[20:] = 0.5, 0.999  # offsets among 100 - 73 + 1 = 28
    box = transforms.random_resized_crop_box(100, 100, uniforms, min_area=0.08)
    assert box == (14, 27, 73, 73)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (100, 300, (0, 83, 100, 133)),  # too wide: width 100 * 4/3
        (300, 60, (110, 0, 80, 60)),  # too high: height 60 / (3/4)
    ],
)
def test_random_resized_crop_box_falls_back_to_the_centre(height, width, expected):
    # The whole area fits in no try: its aspect is outside 3/4..4/3.
    uniforms = np.ones(22)
    box = transforms.random_resized_crop_box(height, width, uniforms, min_area=0.08)
    assert box == expected


def test_random_resized_crop_box_has_its_distribution():
    boxes = [
        transforms.random_resized_crop_box(400, 400, row, min_area=0.08)
        for row in np.random.default_rng(0).random((4000, 22))
    ]
    top, left, height, width = np.array(boxes).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height).max() == 400
    assert (left + width).max() == 400
    area = height * width / 400**2
    assert 0.079 < area.min() < 0.09
    assert 0.95 < area.max() <= 1
    aspect = width / height
    assert 0.74 < aspect.min() < 0.76
    assert 1.31 < aspect.max() < 1.35
    assert abs(np.log(aspect).mean()) < 0.01


def test_random_resized_crop_cuts_out_the_box():
    image = random_image(60, 50, 3)
    uniforms = np.full(22, 0.3)
    top, left, height, width = transforms.random_resized_crop_box(
        60, 50, uniforms, min_area=0.5
    )
    cropped = transforms.random_resized_crop(image, uniforms, size=40, min_area=0.5)
    expected = cv2.resize(image[top : top + height, left : left + width], (40, 40))
    np.testing.assert_array_equal(cropped, expected)


def test_random_resized_crop_averages_when_it_shrinks_much():
    image = np.zeros((64, 64, 3), np.uint8)
    image[::8] = 160  # bilinear at factor 8 reads the rows 3 and 4 of 8, not this one
    uniforms = np.full(22, 0.5)  # aspect 1
    cropped = transforms.random_resized_crop(image, uniforms, size=8, min_area=1)
    assert (cropped == 20).all()


def test_scale_jitter_crop():
    image = random_image(30, 20, 3)
    crop = partial(transforms.scale_jitter_crop, size=16, scales=(20, 40))
    np.testing.assert_array_equal(crop(image, np.zeros(3)), image[:16, :16])
    high = crop(image, np.full(3, 0.9999))
    np.testing.assert_array_equal(high, cv2.resize(image, (40, 60))[-16:, -16:])


# The limit of what is made.


@pytest.mark.parametrize("shape", [(4000, 1), (1, 4000), (12_000, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_long_picture_takes_little_memory(shape, channels):
    image = random_image(*shape, channels)
    long = partial(transforms.scale_jitter_crop, size=224, scales=(256, 480))
    box = partial(transforms.random_resized_crop, size=224, min_area=0.08)
    tracemalloc.start()
    views = [
        transforms.resize_centre_crop(image, 256, 224),
        *(long(image, np.full(3, share)) for share in (0, 0.5, 0.9999)),
        box(image, np.full(22, 0.5)),
    ]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
    assert {view.shape for view in views} == {(224, 224, channels)}


def test_the_part_of_a_large_image_is_the_part_of_the_whole(monkeypatch):
    image = smooth_image(40, 100)
    jitter = partial(transforms.scale_jitter_crop, size=64, scales=(80, 80))
    uniforms = [np.array([0.5, *each]) for each in ((0, 0), (0.3, 0.6), (0.99, 0.99))]
    whole = [jitter(image, each) for each in uniforms]
    whole.append(transforms.resize_centre_crop(image, 80, 64))
    monkeypatch.setattr(transforms, "MAX_RESIZED_PIXELS", 80 * 200 - 1)
    parts = [jitter(image, each) for each in uniforms]
    parts.append(transforms.resize_centre_crop(image, 80, 64))
    for part, expected in zip(parts, whole, strict=True):
        np.testing.assert_allclose(part.astype(int), expected, atol=3)


def test_affine():
    images = random_image(3, 12, 12, 1)
    uniforms = np.full((3, 6), 0.5)
    uniforms[1, :2] = 1, 0  # reads 2 px further right and 2 px higher
    uniforms[2, 4] = 1  # shear 0.3: the top row reads 5.5 * 0.3 = 1.65 px to the left
    distorted = transforms.affine(images, uniforms)
    np.testing.assert_array_equal(distorted[0], images[0])
    np.testing.assert_array_equal(distorted[1][2:, :-2], images[1][:-2, 2:])
    assert not distorted[1][:2].any()
    assert not distorted[1][:, -2:].any()
    row = images[2, 0, :, 0].astype(float)
    expected = 0.35 * row[1:10] + 0.65 * row[0:9]
    # warpAffine places samples on a grid of 1/32 px.
    np.testing.assert_allclose(distorted[2, 0, 2:11, 0], expected, atol=255 / 32 + 1)


@pytest.mark.parametrize(("column", "height_factor"), [(2, 1.15), (3, 1 / 1.15)])
def test_affine_scales_and_squeezes(column, height_factor):
    image = np.zeros((1, 41, 41, 1), np.uint8)
    image[0, 10:31, 10:31] = 255  # a square of 21 px
    uniforms = np.full((1, 6), 0.5)
    uniforms[0, column] = 0  # reads at 1/1.15 of the distance: the square grows
    distorted = transforms.affine(image, uniforms)[0, :, :, 0] / 255
    width, height = distorted[20].sum(), distorted[:, 20].sum()
    assert width == pytest.approx(21 * 1.15, abs=0.2)
    assert height == pytest.approx(21 * height_factor, abs=0.2)


def test_affine_rotates():
    image = np.zeros((1, 41, 41, 1), np.uint8)
    image[0, 5:36, 20] = 255  # a vertical line through the centre
    uniforms = np.full((1, 6), 0.5)
    uniforms[0, 5] = 1  # 0.25 radians: 14 px above the centre the line moves 3.6 px
    distorted = transforms.affine(image, uniforms)[0, :, :, 0]
    columns = distorted[6].argmax(), distorted[34].argmax()
    shift = round(14 * np.tan(0.25))
    assert columns in ((20 + shift, 20 - shift), (20 - shift, 20 + shift))


def test_flip():
    for image in random_image(4, 5, 1), random_image(4, 5, 3):
        np.testing.assert_array_equal(transforms.flip(image), image[:, ::-1])
