"""Whole images: few shapes, little is cut off, and nothing is stretched."""

import numpy as np
import pytest

from cnn_arch.data.whole_images import WholeImages

SCALES = (224, 256, 384)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((500, 500), [(224, 224), (256, 256), (384, 384)]),
        ((300, 400), [(224, 288), (256, 320), (384, 480)]),  # 298, 341 and 512
        ((400, 300), [(288, 224), (320, 256), (480, 384)]),
        ((10, 4000), [(224, 896), (256, 1024), (384, 1536)]),
    ],
)
def test_the_shapes_of_an_image(shape, expected):
    whole = WholeImages(SCALES, mirrors=True)
    bucket = whole.bucket(shape)
    assert [stack[1:] for stack in whole.stacks(bucket)] == expected
    image = np.zeros((*shape, 1), np.uint8)
    image[:, -shape[1] // 2 :] = 200
    for cut, (height, width) in zip(whole.cut(image, bucket), expected, strict=True):
        assert cut.shape == (2, height, width, 1)
        assert (
            cut[0, :, : width // 4].max() == 0 and cut[0, :, -width // 4 :].min() == 200
        )
        np.testing.assert_array_equal(cut[1], cut[0, :, ::-1])


def test_photographs_have_few_shapes():
    whole = WholeImages(SCALES, mirrors=False)
    draw = np.random.default_rng(0).integers(300, 500, (2000, 2)).tolist()
    buckets = {whole.bucket((height, width)) for height, width in draw}
    assert len(buckets) <= 2 * 5
    for shape in draw[:200]:  # below 32 px is cut off at the smallest scale
        (_, height, width), *_ = whole.stacks(whole.bucket(shape))
        longer = 224 * max(shape) / min(shape)
        assert 0 <= longer - max(height, width) < 32
