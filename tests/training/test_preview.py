"""The picture of a batch, compared with what NumPy makes of the images."""

import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.data import normalisation
from cnn_arch.data.bundled import ArraySource
from cnn_arch.data.loading import TrainBatches
from cnn_arch.parallel.mesh import make_mesh
from cnn_arch.training.preview import Preview, describe
from tests import contact_sheets
from tests.commands import call, error_line

NAMES = tuple("abcdefgh")


@pytest.fixture(scope="module")
def source():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (8, 16, 16, 3), np.uint8)
    names = [f"{name}.png" for name in NAMES]
    return ArraySource(images, np.arange(8, dtype=np.int32), names)


def preview_of(source, *words, num_devices=1):
    """Returns the images and the names of whole images, and changes by the words."""
    plain = ["data.image_size=16", "data.train_crop=none", "data.flip=False"]
    plain.append("data.normalisation=channels")
    counted = ["data.mean=(120.0,110.0,100.0)", "data.std=(60.0,50.0,40.0)"]
    settings_of_test = [*plain, *counted, "batch_size=8", *words]
    config, _ = settings.parse(
        ["--config=resnet20", *(f"--config.{word}" for word in settings_of_test)]
    )
    mesh = make_mesh(num_devices, 1)
    batches = TrainBatches(source, config.data, seed=0, batch_size=8)
    return Preview([], config, batches, NAMES, mesh).images()


def rows_of(names):
    """Returns which image of the source each row of the batch is of."""
    return [NAMES.index(parts[0][0]) for parts in names]


def test_images_without_augmentation_are_those_of_the_source(source):
    images, names = preview_of(source)
    rows = rows_of(names)
    assert sorted(rows) == list(range(8))  # shuffled
    np.testing.assert_array_equal(images, source.images[rows])
    assert all(share == 1 for ((_, share),) in names)


def test_the_mean_image_is_added_again(source):
    mean = source.images.mean(axis=0).astype(np.float32)
    arrays = normalisation.Arrays(mean, np.zeros((0, 0), np.float32))
    words = f"data.arrays={normalisation.remember(arrays)}"
    images, names = preview_of(source, "data.normalisation=mean_image", words)
    np.testing.assert_array_equal(images, source.images[rows_of(names)])


def test_whitened_images_are_gray_at_zero(source):
    mean = np.zeros((16, 16, 3), np.float32)
    arrays = normalisation.Arrays(mean, np.eye(768, dtype=np.float32))
    words = f"data.arrays={normalisation.remember(arrays)}"
    images, names = preview_of(source, "data.normalisation=gcn_zca", words)
    pixels = source.images[rows_of(names)].astype(float)
    centred = pixels - pixels.mean(axis=(1, 2, 3), keepdims=True)
    whitened = 55 * centred / np.sqrt((centred**2).sum((1, 2, 3), keepdims=True))
    shades = 127.5 + 127.5 / 3 * whitened / whitened.std()
    np.testing.assert_allclose(images, shades.round().clip(0, 255), atol=1)


@pytest.mark.parametrize("num_devices", [1, 4])
def test_mixed_images_name_both_classes_and_their_shares(source, num_devices):
    images, names = preview_of(source, "data.mixup=1.0", num_devices=num_devices)
    for image, ((own, share), (other, rest)) in zip(images, names, strict=True):
        assert share + rest == pytest.approx(1)
        assert 0.05 < share < 0.95  # of the seed 0: the test can see both
        one, two = (source.images[NAMES.index(name)] for name in (own, other))
        np.testing.assert_allclose(image, share * one + rest * two, atol=0.51)


def test_erased_boxes_have_the_mean_colour(source):
    images, names = preview_of(source, "data.erasing=1.0")
    is_own = images == source.images[rows_of(names)]
    is_mean = (images == (120, 110, 100)).all(axis=-1, keepdims=True)
    assert (is_own | is_mean).all()
    assert (is_mean.mean(axis=(1, 2, 3)) > 0.01).all()


def test_settings_are_described_in_one_line():
    config, _ = settings.parse(["--config=googlenet", "--config.data.mixup=0.2"])
    assert describe(config.data) == (
        "224 px, random_resized_crop from 0.08 of the area, flip, random interpolation,"
        " brightness/contrast/saturation 0.5, pca_noise 0.1, mixup 0.2"
    )
    config, _ = settings.parse(["--config=vgg11"])
    assert "scale_jitter_crop at 256 px," in describe(config.data)
    config, _ = settings.parse(["--config=nin_cifar"])
    assert describe(config.data) == "32 px, pad_crop of 4 px, flip, gcn_zca"


def test_show_batch_writes_a_picture_and_nothing_else(photos, tmp_path):
    words = f"--config.data.dir={photos}", "--config.batch_size=8"
    result = call(
        "train.py", "--config=lenet5:folder", *words, "--show_batch", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["batch.png"]
    assert (tmp_path / "batch.png").read_bytes().startswith(b"\x89PNG")
    assert "run " not in result.stdout


@pytest.mark.parametrize(
    ("word", "reason"),
    [("--show_batch=a.gif", "must end in"), ("--workdir=b", "no effect with --show_b")],
)
def test_show_batch_refuses_what_it_cannot_do(word, reason, tmp_path):
    words = {"--show_batch", word} if "=a" not in word else {word}
    result = call("train.py", "--config=lenet5", *sorted(words), cwd=tmp_path)
    assert reason in error_line(result)
    assert not list(tmp_path.iterdir())


def test_every_recipe_has_its_picture_on_the_page():
    """``python -m tests.contact_sheets`` draws them and writes the section."""
    page = contact_sheets.PAGE.read_text(encoding="utf-8")
    assert page == contact_sheets.page_with(contact_sheets.section())
    drawn = {path.stem for path in contact_sheets.FOLDER.iterdir()}
    assert drawn == {names[0] for names in contact_sheets.groups().values()}


def test_the_pictures_of_the_page_are_small():
    sizes = [path.stat().st_size for path in contact_sheets.FOLDER.iterdir()]
    assert max(sizes) < 80_000 and sum(sizes) < 2**20
