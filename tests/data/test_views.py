import os

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from cnn_arch.data import transforms, views
from cnn_arch.data.decoding import UnreadableImageError
from cnn_arch.data.loading import TrainBatches
from cnn_arch.errors import UsageError


def test_evaluation_view_of_a_photograph(photos):
    data, splits = photos()
    image = np.asarray(Image.open(splits["test"].name(2)))
    expected = transforms.resize_centre_crop(image, 20, 16)
    (view,) = views.load_examples(splits["test"], [2], data)
    np.testing.assert_array_equal(view, expected)


def test_the_evaluation_may_see_another_size_than_the_training(photos):
    data, splits = photos(eval_size=18, train_crop="none")
    image = np.asarray(Image.open(splits["test"].name(2)))
    (view,) = views.load_examples(splits["test"], [2], data)
    np.testing.assert_array_equal(view, transforms.resize_centre_crop(image, 20, 18))
    batches = TrainBatches(splits["train"], data, seed=0, batch_size=4)
    assert batches.batch(0)["image"].shape == (4, 16, 16, 3)
    with pytest.raises(UsageError, match="eval_resize=20: must be at least eval_size"):
        views.check_view(photos(eval_size=21)[0])


def test_find_images(photos, tmp_path):
    photos()
    folder = tmp_path / "photos/test/b"
    (folder / "notes.txt").write_text("no image")
    expected = [str(folder / f"{i:03}.jpg") for i in range(5)]
    assert views.find_images(str(folder)) == expected
    assert views.find_images(expected[1]) == [expected[1]]
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "fifo.jpg")
    for path, rule in {
        "empty": "has no images",
        "x": "no such file or folder",
        "fifo.jpg": "is not a file",
    }.items():
        with pytest.raises(UsageError, match=f"^--images={tmp_path / path}: {rule};"):
            views.find_images(str(tmp_path / path))


def test_find_images_in_sub_folders(tmp_path):
    files = ["b.png", "x.jpg/c.png", "y/z/d.JPG", "y/.hidden/e.png", "y/.f.png"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "y" / "circle").symlink_to(tmp_path)
    (tmp_path / "a.png").symlink_to(tmp_path / "no such file")
    os.mkfifo(tmp_path / "fifo.webp")
    expected = ["a.png", "b.png", "fifo.webp", "x.jpg/c.png", "y/z/d.JPG"]
    found = views.find_images(str(tmp_path))
    assert found == [str(tmp_path / name) for name in expected]


def load_view(path, data):
    return views.evaluation_view(views.load_image(path, data), data)


def test_load_image(photos):
    data, splits = photos()
    expected = views.load_examples(splits["test"], range(11), data)
    for i in range(11):
        image = load_view(splits["test"].name(i), data)
        np.testing.assert_array_equal(image, expected[i])


def test_what_is_not_a_readable_image(data_config, tmp_path):
    (tmp_path / "text.png").write_bytes(b"no image")
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "folder.png").mkdir()
    for name, reason in {
        "text.png": "8 bytes",
        "fifo.png": "not a file",
        "folder.png": "Is a directory",
        "gone.png": "No such file or directory",
    }.items():
        with pytest.raises(UnreadableImageError, match=f"^{reason}$"):
            views.load_image(str(tmp_path / name), data_config())


def test_a_picture_on_its_side_is_evaluated_upright(photos, tmp_path, data_config):
    """In training, evaluation and a user's pictures alike."""
    data, splits = photos(train_crop="none", in_memory=False)
    exif = Image.Exif()
    exif[0x0112] = 8
    for split in splits.values():
        for i in range(len(split)):
            picture = Image.open(split.name(i))
            expected = ImageOps.exif_transpose(picture)
            stored = picture.transpose(Image.Transpose.ROTATE_270)
            stored.save(split.name(i), "PNG", exif=exif)
            upright = transforms.resize_centre_crop(np.asarray(expected), 20, 16)
            (view,) = views.load_examples(split, [i], data)
            np.testing.assert_array_equal(view, upright)
            view = load_view(split.name(i), data)
            np.testing.assert_array_equal(view, upright)
    batches = TrainBatches(splits["train"], data, seed=0, batch_size=8)
    images = batches.batch(0)["image"]
    np.testing.assert_array_equal(images, batches.evaluation_views(0, 8))

    name = splits["test"].name(0)
    upright, stored = load_view(name, data), data_config(pixels="stored")
    assert not np.array_equal(load_view(name, stored), upright)
    imagenet = data_config(source="tfds", pixels="stored")
    np.testing.assert_array_equal(load_view(name, imagenet), upright)


@pytest.mark.parametrize(
    ("fields", "fix"),
    [
        ({"eval_resize": 33}, "--config.data.eval_resize=18"),
        (
            {"train_crop": "scale_jitter_crop", "scale_min": 30, "scale_max": 40},
            "--config.data.scale_min=18 --config.data.scale_max=32",
        ),
        ({"train_crop": "pad_crop", "crop_padding": 9}, "--config.data.crop_padding=2"),
    ],
)
def test_a_view_of_less_than_half_is_named_with_its_fix(data_config, fields, fix):
    (line,) = views.small_views(data_config(**fields))
    assert line.endswith(f"; train with {fix}")
    words = dict(word.split("=") for word in fix.split())
    better = {key.rpartition(".")[2]: int(value) for key, value in words.items()}
    assert not views.small_views(data_config(**(fields | better)))
    assert not views.small_views(data_config())


def test_a_large_image_of_a_digit_is_resized_and_padded(data_config, tmp_path):
    path = tmp_path / "digit.png"
    cv2.imwrite(str(path), np.full((100, 120, 3), 50, np.uint8))
    data = data_config(source="mnist5k", channels=1, fit="pad", eval_resize=12)
    image = load_view(str(path), data)[..., 0]
    assert (image[2:14, 2:14] == 50).all()
    assert image.sum() == 50 * 12 * 12
