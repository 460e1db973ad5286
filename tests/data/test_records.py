"""Reads a data set prepared by TFDS, in a process without TensorFlow."""

import io
import json
import shutil
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from cnn_arch.data import loading
from cnn_arch.errors import RunError
from tests.data.conftest import encode, load, sizes, usage_error

COUNTS = {"train": 40, "validation": 8, "test": 7}


def image(split, index):
    generator = np.random.default_rng((len(split), index))
    return generator.integers(0, 256, (18, 16, 3), np.uint8)


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Random images of two classes."""

    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = tfds.core.Path(__file__).parent  # has no metadata files

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["circle", "square"]),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {
            split: self._generate_examples(split, count)
            for split, count in COUNTS.items()
        }

    def _generate_examples(self, split, count):
        for i in range(count):
            file = io.BytesIO(encode(image(split, i)))
            yield i, {"image": file, "label": i % 2}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    builder = Shapes(data_dir=directory, file_format="array_record")
    builder.download_and_prepare()
    return directory


@pytest.fixture
def shapes(prepared, data_config):
    def make(**fields):
        fields = {"dir": prepared} | fields
        return data_config(source="tfds", name="shapes", **fields)

    return make


def test_splits(shapes):
    dataset = load(shapes())
    assert "tensorflow" not in sys.modules
    assert dataset.name == "shapes"
    assert dataset.class_names == ("circle", "square")
    assert sizes(dataset.splits) == COUNTS
    assert dataset.split_rows == ()
    for split, source in dataset.splits.items():
        assert source.labels.tolist() == [i % 2 for i in range(COUNTS[split])]
        assert source.labels.dtype == np.int32
        assert source.example(3) == (encode(image(split, 3)), 1)
        assert source.name(3) == f"shapes/1.0.0/{split}[3]"


def test_validation_is_carved(shapes):
    data = shapes(test_split="validation")
    dataset = load(data)
    assert sizes(dataset.splits) == {"train": 36, "validation": 4, "test": 8}
    names = {
        source.name(i)
        for source in (dataset.splits["train"], dataset.splits["validation"])
        for i in range(len(source))
    }
    assert names == {f"shapes/1.0.0/train[{i}]" for i in range(40)}
    assert load(data).fingerprint == dataset.fingerprint
    assert load(shapes()).fingerprint != dataset.fingerprint


def test_in_memory(shapes):
    splits = load(shapes(in_memory=True)).splits
    for split, source in splits.items():
        expected = np.stack([image(split, i) for i in range(COUNTS[split])])
        np.testing.assert_array_equal(source.images, expected)


def test_threads_read_the_same_records(shapes):
    data = shapes(num_threads=3)
    source = load(data).splits["train"]
    batches = loading.TrainBatches(source, data, seed=0, batch_size=8)
    for step, batch in enumerate(batches.iterate(0, 20)):
        expected = batches.batch(step)
        np.testing.assert_array_equal(batch["image"], expected["image"])
        np.testing.assert_array_equal(batch["label"], expected["label"])


def edited_copy(prepared, tmp_path, name, edit):
    """Copies the prepared set and edits one of its JSON files."""
    copy = tmp_path / "copy"
    shutil.copytree(prepared, copy)
    path = copy / "shapes/1.0.0" / name
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return copy


def test_not_prepared(shapes, tmp_path):
    assert usage_error(shapes(dir=tmp_path)) == (
        f"--config.data.name=shapes: not prepared in {tmp_path}; prepare it once:"
        " pip install tensorflow, then tfds build shapes --file_format=array_record"
        f" --data_dir={tmp_path}"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("imagenet2012", "imagenet2012 --from=DIR"),
        ("imagenet2012/short_side_256", "imagenet2012 --from=DIR --short_side=256"),
        ("cifar10:3.0.2", "cifar10 --download"),
    ],
)
def test_prepare_is_named_for_what_it_can_write(name, words, data_config, tmp_path):
    text = usage_error(data_config(source="tfds", name=name, dir=tmp_path))
    command = f"python prepare.py {words} --to={tmp_path}"
    assert text.endswith(f"not prepared in {tmp_path}; prepare it once: {command}")


def test_prepared_as_tfrecord(shapes, prepared, tmp_path):
    def edit(info):
        info["fileFormat"] = "tfrecord"
        for split in info["splits"]:
            split["filepathTemplate"] = split["filepathTemplate"].replace(
                "{FILEFORMAT}", "tfrecord"
            )

    copy = edited_copy(prepared, tmp_path, "dataset_info.json", edit)
    text = usage_error(shapes(dir=copy))
    assert "prepared as tfrecord, which only TensorFlow" in text


def test_other_features(shapes, prepared, tmp_path):
    def edit(content):
        features = content["featuresDict"]["features"]
        features["picture"] = features.pop("image")

    copy = edited_copy(prepared, tmp_path, "features.json", edit)
    text = usage_error(shapes(dir=copy))
    assert "has the features label, picture; an 'image' and a 'label'" in text


@pytest.mark.parametrize("place", [0.1, 0.5])
def test_a_damaged_file_of_records(shapes, prepared, tmp_path, place):
    copy = tmp_path / "copy"
    shutil.copytree(prepared, copy)
    (path,) = copy.glob("shapes/1.0.0/*train.array_record*")
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    text = usage_error(shapes(dir=copy, in_memory=True))
    assert text.startswith("shapes/1.0.0/train[")
    assert "not a readable image (Corrupted Riegeli/records file: " in text
    source = load(shapes(dir=copy)).splits["train"]
    with pytest.raises(RunError, match=r"shapes/1.0.0/train\[\d+\]: not a readable"):
        list(loading.evaluation_batches(source, shapes(), 8))


def test_label_out_of_range(shapes, prepared, tmp_path):
    def edit(content):
        content["featuresDict"]["features"]["label"]["classLabel"]["numClasses"] = "1"

    copy = edited_copy(prepared, tmp_path, "features.json", edit)
    (copy / "shapes/1.0.0/label.labels.txt").write_text("circle\n")
    source = load(shapes(dir=copy)).splits["test"]
    with pytest.raises(RunError) as caught:
        source.example(1)
    assert str(caught.value) == (
        "shapes/1.0.0/test[1]: label 1 is not in 0 to 0; choose a split that has labels"
    )
