import cv2
import numpy as np
import pytest
from PIL import Image

from cnn_arch.data import transforms, views
from cnn_arch.errors import UsageError


def test_evaluation_view_of_a_photograph(photos):
    data, splits = photos()
    image = np.asarray(Image.open(splits["test"].name(2)))
    expected = transforms.resize_centre_crop(image, 20, 16)
    (view,) = views.load_examples(splits["test"], [2], data)
    np.testing.assert_array_equal(view, expected)


def test_find_images(photos, tmp_path):
    photos()
    folder = tmp_path / "photos/test/b"
    (folder / "notes.txt").write_text("no image")
    expected = [str(folder / f"{i:03}.jpg") for i in range(5)]
    assert views.find_images(str(folder)) == expected
    assert views.find_images(expected[1]) == [expected[1]]
    for path, rule in (("photos", "has no images"), ("x", "no such file or folder")):
        with pytest.raises(UsageError, match=f"^--images={tmp_path / path}: {rule};"):
            views.find_images(str(tmp_path / path))


def test_load_images(photos, tmp_path):
    data, splits = photos()
    names = [splits["test"].name(i) for i in range(11)]
    np.testing.assert_array_equal(
        views.load_images(names, data),
        views.load_examples(splits["test"], range(11), data),
    )
    path = tmp_path / "broken.png"
    path.write_bytes(b"no image")
    with pytest.raises(UsageError) as caught:
        views.load_images([str(path)], data)
    assert str(caught.value) == (
        f"--images={path}: not a readable image (8 bytes); give a JPEG, PNG, WebP or"
        " BMP file"
    )


def test_a_large_image_of_a_digit_is_resized_and_padded(data_config, tmp_path):
    path = tmp_path / "digit.png"
    cv2.imwrite(str(path), np.full((100, 120, 3), 50, np.uint8))
    data = data_config(source="mnist5k", channels=1, fit="pad", eval_resize=12)
    image = views.load_images([str(path)], data)[0, :, :, 0]
    assert (image[2:14, 2:14] == 50).all()
    assert image.sum() == 50 * 12 * 12
