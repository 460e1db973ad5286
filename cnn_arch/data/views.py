"""The one view of an image that evaluation sees, and pictures loaded in it."""

import os
from collections.abc import Sequence

import numpy as np

from cnn_arch.data import transforms
from cnn_arch.data.folder import SUFFIXES
from cnn_arch.data.sources import DataConfig, Source, is_in_memory, read_image
from cnn_arch.errors import UsageError


def check_view(data: DataConfig) -> None:
    """Checks that `evaluation_view` can be made.

    Raises:
      UsageError: a setting that cannot work.
    """
    if data.fit not in ("resize", "pad"):
        raise UsageError(f"--config.data.fit={data.fit}: must be resize or pad")
    if not is_in_memory(data) and data.eval_resize < data.image_size:
        raise UsageError(
            f"--config.data.eval_resize={data.eval_resize}: must be at least image_size"
            f" {data.image_size}"
        )


def evaluation_view(image: np.ndarray, data: DataConfig) -> np.ndarray:
    """Makes the one view of an image that evaluation sees.

    Encoded images: the shorter side to eval_resize px, then the central image_size
    px. Images in memory: the whole image to image_size, resized or padded as `fit`
    says; one that is too large to pad has its shorter side resized to eval_resize.
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


def load_examples(
    source: Source, indices: Sequence[int] | np.ndarray, data: DataConfig
) -> np.ndarray:
    """Loads some examples of a split as evaluation sees them.

    Returns:
      uint8 [N, image_size, image_size, channels]; zeros for a skipped image.
    """
    size = data.image_size
    images = np.zeros((len(indices), size, size, data.channels), np.uint8)
    for row, index in enumerate(indices):
        image, _ = read_image(source, index, data)
        if image is not None:
            images[row] = evaluation_view(image, data)
    return images


def find_images(path: str) -> list[str]:
    """Lists an image file, or the image files right in a folder, by name.

    Raises:
      UsageError: nothing there.
    """
    if os.path.isfile(path):
        return [path]
    names = sorted(os.listdir(path)) if os.path.isdir(path) else []
    files = [
        os.path.join(path, name)
        for name in names
        if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")
    ]
    if not files:
        rule = "no images in it" if os.path.isdir(path) else "no such file or folder"
        raise UsageError(
            f"--images={path}: {rule}; give a JPEG, PNG, WebP or BMP file, or a folder"
            " of them"
        )
    return files


def load_images(paths: Sequence[str], data: DataConfig) -> np.ndarray:
    """Loads a user's own pictures as evaluation sees them.

    Returns:
      uint8 [N, image_size, image_size, channels].

    Raises:
      UsageError: a file that is no readable image.
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
