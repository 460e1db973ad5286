"""The crops of the papers' tests: their boxes, order and pixels."""

import numpy as np
import pytest
from PIL import Image

from cnn_arch.data import boxes, transforms
from cnn_arch.data.boxes import Box, Crops

LANDSCAPE, PORTRAIT = (300, 400), (400, 300)
GOOGLENET = Crops("googlenet_144", (256, 288, 320, 352), 224, mirrors=True)


def noise(shape, channels=3):
    return np.random.default_rng(0).integers(0, 256, (*shape, channels), np.uint8)


def places(found):
    return [(box.top, box.left) for box in found]


@pytest.mark.parametrize("shape", [LANDSCAPE, PORTRAIT, (33, 90), (224, 224)])
def test_one_crop_is_the_view_for_evaluation(shape):
    image = noise(shape)
    (crop,) = Crops("one_crop", (60,), 51, mirrors=True).cut(image)[0]
    expected = transforms.resize_centre_crop(image, 60, 51)
    np.testing.assert_array_equal(crop, expected)


def test_ten_crops_are_those_of_the_central_square():
    """Of 256 x 341 px; the central 256 x 256 begin at column 42."""
    found = Crops("ten_crop", (256,), 224, mirrors=True).boxes(LANDSCAPE)
    assert places(found[:5]) == [(0, 42), (0, 74), (32, 42), (32, 74), (16, 58)]
    assert [box.is_mirrored for box in found] == 5 * [False] + 5 * [True]
    assert places(found[5:]) == places(found[:5])
    assert {box.side for box in found} == {224}


@pytest.mark.parametrize("shape", [LANDSCAPE, PORTRAIT])
def test_the_144_boxes_are_distinct_and_in_the_papers_order(shape):
    """4 scales x 3 squares x 6 views x 2 (Szegedy et al. 2014, Section 7)."""
    found = GOOGLENET.boxes(shape)
    assert len(found) == len(set(found)) == GOOGLENET.number == 144
    by_square = [found[start : start + 12] for start in range(0, 144, 12)]
    scales = [[box.scale for box in square] for square in by_square]
    assert scales == [12 * [s] for s in (256, 288, 320, 352) for _ in range(3)]
    for number, square in enumerate(by_square):
        plain, mirrored = square[:6], square[6:]
        assert [box._replace(is_mirrored=True) for box in plain] == mirrored
        scale = square[0].scale
        longer = scale * 400 // 300
        start = (0, round((longer - scale) / 2), longer - scale)[number % 3]
        *five, whole = plain
        end, middle = scale - 224, round((scale - 224) / 2)
        wanted = [(0, 0), (0, end), (end, 0), (end, end), (middle, middle)]
        down, right = (0, start) if shape == LANDSCAPE else (start, 0)
        assert places(five) == [(y + down, x + right) for y, x in wanted]
        assert whole == Box(scale, down, right, scale, is_mirrored=False)


def test_the_grid_of_vgg_has_50_crops_a_scale_up_to_all_edges():
    crops = Crops("multi_crop", (256, 384, 512), 224, mirrors=True)
    found = crops.boxes(PORTRAIT)
    assert len(found) == len(set(found)) == crops.number == 150
    first = found[:25]
    assert sorted({box.top for box in first}) == [0, 29, 58, 88, 117]  # of 341 - 224
    assert sorted({box.left for box in first}) == [0, 8, 16, 24, 32]
    assert not any(box.is_mirrored for box in first)
    assert all(box.is_mirrored for box in found[25:50])


def test_twelve_crops_are_the_views_of_the_central_square():
    found = Crops("twelve_crop", (256,), 224, mirrors=True).boxes(LANDSCAPE)
    assert len(set(found)) == 12
    centre = GOOGLENET.boxes(LANDSCAPE)[12:24]
    assert found == centre


def test_images_that_must_not_be_mirrored_have_half_the_crops():
    assert Crops("ten_crop", (40,), 32, mirrors=False).number == 5
    assert Crops("one_crop", (40,), 32, mirrors=True).number == 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("protocol", ["ten_crop", "googlenet_144", "multi_crop"])
def test_the_pixels_are_pillows(protocol, channels):
    image = noise((70, 93), channels)
    crops = Crops(protocol, (48, 56), 40, mirrors=True)
    (found,) = crops.cut(image)
    assert found.shape == crops.stacks()[0] + (channels,)
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    for crop, box in zip(found, crops.boxes((70, 93)), strict=True):
        size = box.scale * 93 // 70, box.scale
        part = picture.resize(size, Image.Resampling.BILINEAR).crop(
            (box.left, box.top, box.left + box.side, box.top + box.side)
        )
        if box.side != 40:
            part = part.resize((40, 40), Image.Resampling.BILINEAR)
        if box.is_mirrored:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        np.testing.assert_array_equal(crop, np.asarray(part).reshape(40, 40, channels))


def test_an_image_of_extreme_shape_is_not_resized_as_a_whole(monkeypatch):
    image = np.repeat(np.arange(200, dtype=np.uint8), 20).reshape(1, 4000, 1)
    monkeypatch.setattr(transforms, "MAX_RESIZED_PIXELS", 2000)
    (found,) = Crops("googlenet_144", (40,), 32, mirrors=True).cut(image)
    left, centre, right = (found[start].mean() for start in (0, 12, 24))
    assert left < 5 and 95 < centre < 105 and right > 195
    assert boxes.cut(image, [], 32).shape == (0, 32, 32, 1)
