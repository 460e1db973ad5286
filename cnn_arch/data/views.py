"""The view of an image for evaluation, and images loaded in this view."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnn_arch.data import transforms
from cnn_arch.data.folder import image_files
from cnn_arch.data.sources import DataConfig, Source, is_in_memory, read_image
from cnn_arch.errors import UsageError


def check_view(data: DataConfig) -> None:
    """Checks that an `evaluation_view` is possible.

    Raises:
      UsageError: eval_resize is below image_size.
    """
    if not is_in_memory(data) and data.eval_resize < data.image_size:
        raise UsageError(
            f"--config.data.eval_resize={data.eval_resize}: must be at least image_size"
            f" {data.image_size}"
        )


def evaluation_view(image: np.ndarray, data: DataConfig) -> np.ndarray:
    """Returns the view of an image for evaluation, [image_size, image_size, channels].

    An encoded image: the shorter side is resized to eval_resize px, and the central
    image_size px are cut out. An image in memory: the whole image is resized or padded
    to image_size, by the setting `fit`; an image too large to pad is first resized and
    cropped to eval_resize.
    """
    size = data.image_size
    if not is_in_memory(data):
        return transforms.resize_centre_crop(image, data.eval_resize, size)
    if data.fit == "resize":
        return transforms.resize_centre_crop(image, size, size)
    if max(image.shape[:2]) > size:
        side = min(data.eval_resize, size)
        image = transforms.resize_centre_crop(image, side, side)
    return transforms.pad_to(image, size)


def load_batch(
    source: Source, indices: Sequence[int] | np.ndarray, data: DataConfig
) -> dict[str, np.ndarray]:
    """Loads examples of a split in the view for evaluation.

    Returns:
      "image" uint8 [N, image_size, image_size, channels], "label" int32 [N] and "mask"
      bool [N]. Where the index is beyond the split or the image cannot be read, the
      mask is false, and image and label are zeros.
    """
    size = data.image_size
    images = np.zeros((len(indices), size, size, data.channels), np.uint8)
    labels = np.zeros(len(indices), np.int32)
    mask = np.zeros(len(indices), bool)
    for row, index in enumerate(indices):
        if index < len(source):
            image, label = read_image(source, index, data)
            if image is not None:
                images[row] = evaluation_view(image, data)
                labels[row] = label
                mask[row] = True
    return {"image": images, "label": labels, "mask": mask}


def load_examples(
    source: Source, indices: Sequence[int] | np.ndarray, data: DataConfig
) -> np.ndarray:
    """Loads only the images of `load_batch`."""
    return load_batch(source, indices, data)["image"]


def find_images(path: str) -> list[str]:
    """Lists an image file, or the image files directly in a folder, by name.

    Raises:
      UsageError: there is no image.
    """
    if os.path.isfile(path):
        return [path]
    files = [os.path.join(path, entry.name) for entry in image_files(Path(path))]
    if not files:
        rule = "has no images" if os.path.isdir(path) else "no such file or folder"
        raise UsageError(
            f"--images={path}: {rule}; give a JPEG, PNG, WebP or BMP file, or a folder"
            " of them"
        )
    return files


def load_images(paths: Sequence[str], data: DataConfig) -> np.ndarray:
    """Loads a user's own image files in the view for evaluation.

    Returns:
      uint8 [N, image_size, image_size, channels].

    Raises:
      UsageError: a file is not a readable image.
    """
    images = []
    for path in paths:
        with open(path, "rb") as file:
            encoded = file.read(transforms.MAX_FILE_BYTES + 1)
        try:
            image = transforms.decode(encoded, data.channels)
        except transforms.UnreadableImageError as error:
            raise UsageError(
                f"--images={path}: not a readable image ({error}); give a JPEG, PNG,"
                " WebP or BMP file"
            ) from None
        images.append(evaluation_view(image, data))
    return np.stack(images)
