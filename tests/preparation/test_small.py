"""MNIST, Fashion-MNIST and CIFAR from small archives in their published layouts."""

import gzip
import hashlib
import sys
from typing import ClassVar

import numpy as np
import pytest
import tensorflow_datasets as tfds

from cnn_arch.errors import UsageError
from cnn_arch.preparation import small
from cnn_arch.preparation.published import PUBLISHED
from tests.data.conftest import load
from tests.preparation.conftest import COARSE, FINE, cifar, idx, known, tar, write


def config_of(data_config, name, folder, **fields):
    """Returns the config that reads a data set as a recipe's preset does."""
    source = name if name.endswith("mnist") else "tfds"
    return data_config(source=source, name=name, dir=folder, in_memory=True, **fields)


def every_image(dataset):
    """Returns images and labels of training and validation, and of the test."""
    splits = dataset.splits
    joined = [splits["train"], splits["validation"]]
    return {
        "train": [(s.images[i], s.labels[i]) for s in joined for i in range(len(s))],
        "test": [
            (s.images[i], s.labels[i]) for s in [splits["test"]] for i in range(len(s))
        ],
    }


def as_set(pairs):
    return {
        (np.ascontiguousarray(image).tobytes(), int(label)) for image, label in pairs
    }


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_read_as_it_was_published(name, tmp_path, data_config):
    rows = cifar(tmp_path / "archive", name)
    published = known(name, tmp_path / "archive", train=20, test=6)
    target = tmp_path / "tfds" / name / published.version
    write(small.plan_cifar(name, tmp_path / "archive", target, published))
    dataset = load(config_of(data_config, name, tmp_path / "tfds"))
    assert "tensorflow" not in sys.modules
    # "The first 1024 bytes are the red channel values, the next 1024 the green, and the
    # final 1024 the blue": byte 1 + 1024 is the green of the first pixel.
    start = 1 if name == "cifar10" else 2
    for split, images in every_image(dataset).items():
        published_images = {
            (
                row[start:].reshape(3, 32, 32).transpose(1, 2, 0).tobytes(),
                row[start - 1],
            )
            for row in rows[split]
        }
        assert as_set(images) == published_images
    if name == "cifar100":
        assert dataset.class_names == tuple(FINE)
        builder = tfds.builder_from_directory(target)
        assert builder.info.features["coarse_label"].names == COARSE
    else:
        assert dataset.class_names[3] == "class3"


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_digits_and_clothes_are_read_from_idx_files(
    name, suffix, tmp_path, data_config, no_md5
):
    arrays = idx(tmp_path / "idx", suffix=suffix)
    published = known(name, tmp_path / "idx", train=30, test=10)
    target = tmp_path / "tfds" / name / published.version
    write(small.plan_mnist(name, tmp_path / "idx", target, published))
    data = config_of(data_config, name, tmp_path / "tfds", channels=1)
    dataset = load(data)
    for split, images in every_image(dataset).items():
        assert as_set(images) == as_set(zip(*arrays[split], strict=True))
    assert dataset.class_names[9] == ("9" if name == "mnist" else "Ankle boot")


class Numbered(tfds.core.GeneratorBasedBuilder):
    """Images by their numbers, as TFDS's own builder of CIFAR-10 has them."""

    VERSION = tfds.core.Version("3.0.2")
    pkg_dir_path = tfds.core.Path(__file__).parent
    rows: ClassVar = {}

    def _info(self):
        features = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(32, 32, 3)),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.rows}

    def _generate_examples(self, split):
        examples = small._read  # only the encoding of PNG files is shared
        for example in examples(split, self.columns(split)):
            yield int(example["id"].rpartition("_")[2]), example

    def columns(self, split):
        rows = self.rows[split]
        return {
            "id": [f"{split}_{number:05}" for number in range(len(rows))],
            "image": rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1),
            "label": rows[:, 0],
        }


def test_the_records_are_tfds_own_in_their_order(tmp_path):
    Numbered.rows = cifar(tmp_path / "archive", "cifar10")
    tfds.disable_progress_bar()
    own = Numbered(data_dir=tmp_path / "own", file_format="array_record")
    own.download_and_prepare()
    published = known("cifar10", tmp_path / "archive", train=20, test=6)
    target = tmp_path / "ours"
    write(small.plan_cifar("cifar10", tmp_path / "archive", target, published))
    ours = tfds.builder_from_directory(target)
    decoders = {"image": tfds.decode.SkipDecoding()}
    for split in ("train", "test"):
        pairs = zip(
            own.as_data_source(split, decoders=decoders),
            ours.as_data_source(split, decoders=decoders),
            strict=True,
        )
        for theirs, mine in pairs:
            assert theirs == mine


def test_a_cut_or_changed_archive_is_refused(tmp_path):
    folder = tmp_path / "archive"
    cifar(folder, "cifar10")
    published = known("cifar10", folder, train=20, test=6)
    path = folder / "cifar-10-binary.tar.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    with pytest.raises(UsageError, match="incomplete or another file, as its MD5 is"):
        small.plan_cifar("cifar10", folder, tmp_path / "x", published)
    # Without a checksum, gzip's own and the ends of the files speak.
    md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest()}
    unchecked = type(published)(published.version, md5, published.num_images)
    with pytest.raises(UsageError, match="damaged"):
        small.plan_cifar("cifar10", folder, tmp_path / "x", unchecked)


def test_other_numbers_of_images_are_refused(tmp_path):
    cifar(tmp_path, "cifar10")
    published = known("cifar10", tmp_path, train=25, test=6)
    message = "has 20 train images, not the 25 that are published; get it again"
    with pytest.raises(UsageError, match=message):
        small.plan_cifar("cifar10", tmp_path, tmp_path / "x", published)
    idx(tmp_path)
    published = known("fashion_mnist", tmp_path, train=30, test=11)
    with pytest.raises(UsageError, match="has 10 test images, not the 11"):
        small.plan_mnist("fashion_mnist", tmp_path, tmp_path / "x", published)


def test_a_label_outside_the_classes_is_refused(tmp_path):
    rows = cifar(tmp_path, "cifar10")
    rows["test"][2, 0] = 10
    files = {
        f"a/data_batch_{number + 1}.bin": each.tobytes()
        for number, each in enumerate(np.split(rows["train"], 5))
    }
    files |= {"a/test_batch.bin": rows["test"].tobytes()}
    files |= {"a/batches.meta.txt": "\n".join("abcdefghij").encode()}
    tar(tmp_path / "cifar-10-binary.tar.gz", files)
    published = known("cifar10", tmp_path, train=20, test=6)
    with pytest.raises(UsageError, match="label 10 is not in 0 to 9"):
        small.plan_cifar("cifar10", tmp_path, tmp_path / "x", published)


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"has no cifar-100-binary.tar.gz; give its"):
        published = PUBLISHED["cifar100"]
        small.plan_cifar("cifar100", tmp_path, tmp_path / "x", published)
    with pytest.raises(UsageError, match=r"--from=.*has no train-images-idx3-ubyte or"):
        small.plan_mnist("mnist", tmp_path, tmp_path / "x", PUBLISHED["mnist"])


def test_idx_files_of_another_data_set_are_not_mnist(tmp_path):
    idx(tmp_path)
    with pytest.raises(UsageError, match=r"is of another data set.* with --from$"):
        small.plan_mnist("mnist", tmp_path, tmp_path / "x", PUBLISHED["mnist"])


def test_an_idx_file_that_was_compressed_anew_is_warned_of(tmp_path, capsys):
    idx(tmp_path)
    published = known("fashion_mnist", tmp_path, train=30, test=10)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1))
    write(small.plan_mnist("fashion_mnist", tmp_path, tmp_path / "x", published))
    assert "t10k-labels-idx1-ubyte.gz: was compressed anew" in capsys.readouterr().err
