"""ImageNet in small: official archives, Kaggle's layout and unpacked folders."""

import csv
import io
import sys

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from cnn_arch.data import decoding, records
from cnn_arch.errors import UsageError
from cnn_arch.preparation import ground_truth, imagenet, images
from tests.data.conftest import load
from tests.preparation.conftest import jpeg, known, tar, write

SYNSETS = "n01440764", "n01443537", "n15075141"  # labels 0, 1 and 999
# The first validation images and what they show: the first lines of TFDS's ground
# truth, as torchvision's from the development kit (ILSVRC2012_val_00000001: n01751748).
VALIDATION = ["n01751748", "n09193705", "n02105855", "n04263257"]
COUNTS = {"train": 7, "validation": 4}


NUMBERS = {SYNSETS[0]: (0, 1, 2), SYNSETS[1]: (0, 1), SYNSETS[2]: (0, 9)}
TRAIN_IMAGES = {
    synset: {f"{synset}_{number}.JPEG": jpeg(50 + number, 40) for number in numbers}
    for synset, numbers in NUMBERS.items()
}
VALIDATION_IMAGES = {f"ILSVRC2012_val_{i + 1:08}.JPEG": jpeg(30 + i) for i in range(4)}


def archives(folder):
    """Writes the official archives: of training, an archive of archives."""
    inside = {
        f"{synset}.tar": tar(folder / "class.tar", files)
        for synset, files in TRAIN_IMAGES.items()
    }
    (folder / "class.tar").unlink()
    tar(folder / imagenet.TRAIN, inside)
    tar(folder / imagenet.VALIDATION, VALIDATION_IMAGES)
    return folder


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def kaggle(folder):
    """Writes Kaggle's layout, with its ground truth."""
    place = folder / "ILSVRC/Data/CLS-LOC"
    for synset, files in TRAIN_IMAGES.items():
        put(place / "train" / synset, files)
    put(place / "val", VALIDATION_IMAGES)
    rows = [("ImageId", "PredictionString")]
    for number, synset in enumerate(VALIDATION):
        rows.append((f"ILSVRC2012_val_{number + 1:08}", f"{synset} 1 2 3 4 "))
    with (folder / ground_truth.SOLUTION).open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def sorted_folders(folder):
    """Writes folders in which validation images are sorted by class too."""
    for synset, files in TRAIN_IMAGES.items():
        put(folder / "train" / synset, files)
        (folder / "train" / synset / "Thumbs.db").write_bytes(b"x")
    for (name, content), synset in zip(
        VALIDATION_IMAGES.items(), VALIDATION, strict=True
    ):
        put(folder / "val" / synset, {name: content})
    return folder


def class_archives(folder):
    """Writes a folder with the archive of each class."""
    (folder / "train").mkdir()
    for synset, files in TRAIN_IMAGES.items():
        tar(folder / "train" / f"{synset}.tar", files)
    put(folder / "val", VALIDATION_IMAGES)
    return folder


def plan_of(folder, side=0, counts=COUNTS):
    published = known("imagenet2012", folder, **counts)
    return imagenet.plan_imagenet(folder, folder / "tfds", side, published)


@pytest.mark.parametrize("layout", [archives, kaggle, sorted_folders, class_archives])
def test_every_layout_gives_the_same_data_set(layout, tmp_path, data_config):
    folder = layout(tmp_path)
    write(plan_of(folder))
    data = data_config(
        source="tfds", name="imagenet2012", dir=folder / "tfds", test_split="validation"
    )
    class_names, sources = records.open_splits("imagenet2012", str(folder / "tfds"))
    assert "tensorflow" not in sys.modules
    assert (class_names[0], class_names[999]) == ("tench", "toilet tissue")
    train = [sources["train"].example(i) for i in range(7)]
    assert train == [
        (content, label)
        for (_, files), label in zip(TRAIN_IMAGES.items(), (0, 1, 999), strict=True)
        for content in files.values()
    ]
    synsets = (
        tfds.core.tfds_path("datasets/imagenet2012/labels.txt").read_text().split()
    )
    found = [sources["validation"].example(i) for i in range(4)]
    assert [synsets[label] for _, label in found] == VALIDATION
    assert [content for content, _ in found] == list(VALIDATION_IMAGES.values())
    assert sum(map(len, load(data).splits.values())) == 11


def test_class_names_are_kept_with_the_synsets(tmp_path):
    folder = write(plan_of(archives(tmp_path)))
    with (folder / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1000
    assert rows[1] == {"label": "1", "synset": "n01443537", "name": "goldfish"}


def test_tfds_finds_it_by_its_own_builder(tmp_path):
    write(plan_of(archives(tmp_path)))
    builder = tfds.builder("imagenet2012", data_dir=tmp_path / "tfds")
    source = builder.as_data_source("validation")
    assert source[0]["file_name"] == b"ILSVRC2012_val_00000001.JPEG"


def opened(encoded):
    return Image.open(io.BytesIO(encoded))


def test_inks_become_colours():
    inks, file = Image.new("CMYK", (24, 16), (200, 30, 60, 10)), io.BytesIO()
    inks.save(file, "JPEG", quality=95)
    stored = opened(images.as_jpeg(file.getvalue(), "x", 0, shown=False))
    assert (stored.format, stored.mode) == ("JPEG", "RGB")
    expected = np.asarray(inks.convert("RGB"), int)
    assert np.abs(np.asarray(stored) - expected).max() <= 8


def test_a_png_with_the_name_of_a_jpeg_becomes_one():
    small = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    pixels = cv2.resize(small, (32, 24))
    png = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    stored = opened(images.as_jpeg(png, "n02105855_2933.JPEG", 0, shown=False))
    assert (stored.format, stored.mode) == ("JPEG", "RGB")
    assert np.abs(np.asarray(stored) - pixels.astype(int)).mean() <= 4
    gray = cv2.imencode(".jpg", pixels[..., 0])[1].tobytes()
    for plain in (jpeg(), gray):  # keeps its bytes
        assert images.as_jpeg(plain, "x", 0, shown=False) is plain


SIZES = [  # before and after, width and height
    ((500, 375), (341, 256)),
    ((300, 400), (256, 341)),
    ((256, 300), (256, 300)),
    ((90, 60), (90, 60)),
]


@pytest.mark.parametrize(("size", "smaller"), SIZES)
def test_the_short_side_is_the_one_asked_for(size, smaller):
    encoded = jpeg(*size)
    stored = images.as_jpeg(encoded, "x", 256, shown=False)
    height, width, _ = decoding.decode(stored, 3, shown=False).shape
    assert (width, height) == smaller
    assert (stored == encoded) == (smaller == size)


def test_smaller_images_are_a_variant_beside_the_original(tmp_path):
    folder = archives(tmp_path)
    write(plan_of(folder))
    plan = plan_of(folder, side=32)
    assert plan.num_bytes < 7 * plan_of(folder).num_bytes
    write(plan)
    _, small = records.open_splits("imagenet2012/short_side_32", str(folder / "tfds"))
    _, full = records.open_splits("imagenet2012", str(folder / "tfds"))
    assert small["train"].identity() != full["train"].identity()
    image = decoding.decode(small["train"].example(0)[0], 3, shown=False)
    assert image.shape == (32, 40, 3)


def test_a_missing_image_is_noticed(tmp_path):
    folder = sorted_folders(tmp_path)
    next((folder / "val" / VALIDATION[1]).iterdir()).unlink()
    with pytest.raises(UsageError, match="has 3 validation images, not the 4"):
        plan_of(folder)
    put(folder / "val" / VALIDATION[1], {"ILSVRC2012_val_00000002.JPEG": jpeg()})
    next((folder / "train" / SYNSETS[0]).glob("*.JPEG")).unlink()
    with pytest.raises(UsageError, match="has 6 train images, not the 7"):
        plan_of(folder)


def test_a_missing_image_of_a_class_archive_is_noticed_at_the_end(tmp_path):
    folder = class_archives(tmp_path)
    path = folder / "train" / f"{SYNSETS[0]}.tar"
    tar(path, dict(list(TRAIN_IMAGES[SYNSETS[0]].items())[1:]))
    with pytest.raises(UsageError, match="has 6 train images, not the 7"):
        write(plan_of(folder))
    assert not (folder / "tfds/imagenet2012/5.1.0").exists()


def test_a_folder_that_has_moved_is_continued(tmp_path):
    (tmp_path / "a").mkdir()
    plan = plan_of(archives(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    assert plan_of(tmp_path / "b").origin == plan.origin


@pytest.mark.parametrize("file", [imagenet.TRAIN, imagenet.VALIDATION])
def test_a_cut_archive_is_refused_before_anything_is_written(file, tmp_path):
    folder = archives(tmp_path)
    published = known("imagenet2012", folder, **COUNTS)
    path = folder / file
    for length in (0.3, 0.9):  # in the images
        whole = path.read_bytes()
        path.write_bytes(whole[: int(length * len(whole))])
        with pytest.raises(UsageError, match="incomplete"):
            write(imagenet.plan_imagenet(folder, folder / "tfds", 0, published))
        path.write_bytes(whole)
    assert not list(folder.glob("tfds/**/*array_record*"))


def test_a_changed_byte_is_found_by_the_checksum(tmp_path):
    folder = archives(tmp_path)
    published = known("imagenet2012", folder, **COUNTS)
    path = folder / imagenet.TRAIN
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match="another file, as its MD5 is"):
        write(imagenet.plan_imagenet(folder, folder / "tfds", 0, published))


def test_the_checksum_is_compared_once(tmp_path, monkeypatch):
    plan = plan_of(archives(tmp_path))
    seen = []
    monkeypatch.setattr(imagenet.published, "check", lambda *words: seen.append(words))

    def fail(*_):
        raise UsageError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(imagenet.archives, "read", fail)
        with pytest.raises(UsageError, match="stopped"):
            write(plan)
    assert len(seen) == 2
    write(plan)
    assert len(seen) == 2


def test_validation_images_in_a_wrong_folder_are_refused(tmp_path):
    folder = sorted_folders(tmp_path)
    (folder / "val" / VALIDATION[0]).rename(folder / "val" / "n99999999")
    with pytest.raises(
        UsageError, match="n99999999, but shows n01751748 by the ground"
    ):
        plan_of(folder)


def test_another_ground_truth_is_refused(tmp_path):
    folder = kaggle(tmp_path)
    path = folder / ground_truth.SOLUTION
    path.write_text(path.read_text().replace("n01751748", "n01440764"))
    with pytest.raises(UsageError, match=r"LOC_val_solution.csv has another ground"):
        plan_of(folder)


def test_the_development_kit_must_agree(tmp_path):
    folder = archives(tmp_path)
    truth = tfds.core.tfds_path("datasets/imagenet2012/validation_labels.txt")
    synsets = truth.read_text().split()
    own = {synset: number + 1 for number, synset in enumerate(dict.fromkeys(synsets))}
    lines = [str(own[synset]) for synset in synsets]
    name = f"ILSVRC2012_devkit_t12/data/{ground_truth.TRUTH}"
    tar(folder / ground_truth.DEVKIT, {name: "\n".join(lines).encode()})
    plan_of(folder)
    lines[7], lines[8] = lines[8], lines[7]
    tar(folder / ground_truth.DEVKIT, {name: "\n".join(lines).encode()})
    with pytest.raises(UsageError, match=r"devkit_t12.tar.gz has another ground truth"):
        plan_of(folder)


def test_what_is_not_imagenet_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"has neither ILSVRC2012_img_train.tar nor"):
        plan_of(tmp_path)
    folder = kaggle(tmp_path)
    put(folder / "ILSVRC/Data/CLS-LOC/train/roses", {"a.JPEG": jpeg()})
    with pytest.raises(UsageError, match="roses is not one of the 1,000 classes"):
        plan_of(folder)
