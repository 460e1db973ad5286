"""The papers' crops and interpolations, compared with Pillow and cv2."""

import cv2
import numpy as np
import pytest
from PIL import Image

from cnn_arch.data import loading, transforms
from cnn_arch.data.bundled import ArraySource


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def square(image):
    """The shorter side at 20 px, and the central 20 x 20 of 30."""
    picture = Image.fromarray(image).resize((30, 20), Image.Resampling.BILINEAR)
    return np.asarray(picture)[:, 5:25]


def views_of(image, num_steps, data):
    """Returns the crops of many copies of an image."""
    images = np.repeat(image[None], 50, axis=0)
    source = ArraySource(images, np.zeros(50, np.int32), ["image"] * 50)
    batches = loading.TrainBatches(source, data, seed=0, batch_size=50)
    return np.concatenate([batches.batch(step)["image"] for step in range(num_steps)])


def counts_of(views, expected):
    counts = [int((views == each).all((1, 2, 3)).sum()) for each in expected]
    assert sum(counts) == len(views)
    return counts


def test_the_square_crop_is_anywhere_in_the_central_square(image, square, data_config):
    data = data_config(train_crop="square_crop", flip=False)
    places = [(top, left) for top in range(5) for left in range(5)]
    expected = [square[top : top + 16, left : left + 16] for top, left in places]
    counts = counts_of(views_of(image, 20, data), expected)
    assert 15 < min(counts) and max(counts) < 70  # 40 each, standard deviation 6.2


def test_the_ten_crops_are_corners_and_centre_with_their_mirror_images(
    image, square, data_config
):
    data = data_config(train_crop="ten_crop", flip=True)
    places = (0, 0), (0, 4), (4, 0), (4, 4), (2, 2)
    expected = [square[top : top + 16, left : left + 16] for top, left in places]
    expected += [view[:, ::-1] for view in expected]
    counts = counts_of(views_of(image, 20, data), expected)
    assert 65 < min(counts) and max(counts) < 135  # 100 each, standard deviation 9.5


def test_the_interpolation_is_one_of_four(image, data_config):
    data = data_config(
        train_crop="scale_jitter_crop",
        scale_min=16,
        scale_max=16,
        flip=False,
        interpolation="random",
    )
    methods = cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_NEAREST, cv2.INTER_CUBIC
    resized = [cv2.resize(image, (24, 16), interpolation=each) for each in methods]
    expected = [each[:, left : left + 16] for each in resized for left in range(9)]
    counts = np.array(counts_of(views_of(image, 20, data), expected)).reshape(4, 9)
    assert 200 < counts.sum(axis=1).min()  # 250 each, standard deviation 14
    assert counts.min() > 0


def test_a_box_is_resized_by_its_method(image):
    uniforms = np.random.default_rng(1).random(22)
    top, left, height, width = transforms.random_resized_crop_box(
        40, 60, uniforms, min_area=0.5
    )
    box = image[top : top + height, left : left + width]
    for method in transforms.INTERPOLATIONS:
        crop = transforms.random_resized_crop(
            image, uniforms, size=16, min_area=0.5, method=method
        )
        np.testing.assert_array_equal(
            crop, cv2.resize(box, (16, 16), interpolation=method)
        )


@pytest.mark.parametrize("scales", [(18, 18), (18, 20)])
def test_the_shorter_side_is_fixed_or_one_of_a_range(image, scales, data_config):
    """Simonyan and Zisserman 2014, Section 3.1.1: S fixed, or from S_min to S_max."""
    low, high = scales
    data = data_config(
        train_crop="scale_jitter_crop", scale_min=low, scale_max=high, flip=False
    )
    views = views_of(image, 4, data)
    found = np.zeros(len(views), int)
    for scale in range(low, high + 1):
        width = 60 * scale // 40
        method = cv2.INTER_AREA if 40 >= 2 * scale else cv2.INTER_LINEAR
        resized = cv2.resize(image, (width, scale), interpolation=method)
        for top in range(scale - 15):
            for left in range(width - 15):
                view = resized[top : top + 16, left : left + 16]
                found[(views == view).all((1, 2, 3))] = scale
    assert set(found) == set(range(low, high + 1))
