"""The worker of loader.py for tf.data; needs tensorflow.

It decodes only the rows and columns of the random box, with the exact transform
(``INTEGER_ACCURATE``; a build's default may be a faster, inexact one).
"""
# pyright: reportMissingImports=false

import glob
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf  # pyright: ignore[reportMissingModuleSource]
from worker import serve


def make_view(encoded, size: int):
    """Returns a random box of a JPEG, perhaps flipped: uint8 [size, size, 3]."""
    begin, extent, _ = tf.image.sample_distorted_bounding_box(
        tf.io.extract_jpeg_shape(encoded),
        tf.zeros([1, 0, 4]),
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    window = tf.stack([begin[0], begin[1], extent[0], extent[1]])
    image = tf.io.decode_and_crop_jpeg(
        encoded, window, channels=3, dct_method="INTEGER_ACCURATE"
    )
    image = tf.image.resize(image, (size, size), antialias=False)
    image = tf.image.random_flip_left_right(image)
    return tf.saturate_cast(tf.round(image), tf.uint8)


def prepare(case: dict):
    """Makes the pipeline; returns the version, and a pass that takes a batch."""
    size, batch_size = case["image_size"], case["batch_size"]
    folders = sorted(glob.glob(os.path.join(case["data_dir"], "train", "*")))
    files = [
        (path, label)
        for label, folder in enumerate(folders)
        for path in sorted(glob.glob(os.path.join(folder, "*")))
    ]
    paths, labels = map(list, zip(*files, strict=True))
    dataset = tf.data.Dataset.from_tensor_slices((paths, labels))
    dataset = dataset.shuffle(len(paths), seed=0).repeat()
    dataset = dataset.map(
        lambda path, label: (make_view(tf.io.read_file(path), size), label),
        num_parallel_calls=case["workers"],
        deterministic=False,
    )
    dataset = dataset.batch(batch_size, drop_remainder=True).prefetch(2)
    options = tf.data.Options()
    options.threading.private_threadpool_size = case["workers"]
    stream = iter(dataset.with_options(options))

    def take() -> None:
        image = next(stream)[0].numpy()
        assert image.shape == (batch_size, size, size, 3)
        assert image.dtype == "uint8"

    return {"versions": {"tensorflow": tf.__version__}}, {"batch": take}


if __name__ == "__main__":
    serve(prepare)
