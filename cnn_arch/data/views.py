"""The view of an image for evaluation, and images loaded in this view."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cnn_arch.data import transforms
from cnn_arch.data.decoding import decode
from cnn_arch.data.folder import image_files_below, read_image_file
from cnn_arch.data.sources import DataConfig, Source, is_in_memory, read_image
from cnn_arch.errors import UsageError

PLENTY = 256 / 224  # the shorter side in image sizes, as ImageNet is evaluated


def eval_size(data: DataConfig) -> int:
    """Returns the side of the network's square input in evaluation, px."""
    return data.eval_size or data.image_size


def check_view(data: DataConfig) -> None:
    """Checks that an `evaluation_view` is possible.

    Raises:
      UsageError: eval_resize is below the size of the view.
    """
    size = eval_size(data)
    if not is_in_memory(data) and data.eval_resize < size:
        name = "eval_size" if data.eval_size else "image_size"
        raise UsageError(
            f"--config.data.eval_resize={data.eval_resize}: must be at least {name}"
            f" {size}; leave it out, and it follows image_size"
        )


def small_views(data: DataConfig) -> list[str]:
    """Returns a line for each view that shows less than half of the shorter side."""
    size, seen, found = data.image_size, eval_size(data), []
    fix = round(size * PLENTY)
    if not is_in_memory(data) and 2 * seen < data.eval_resize:
        found.append(
            f"the evaluation sees {seen} of {data.eval_resize} px of the shorter side;"
            f" train with --config.data.eval_resize={round(seen * PLENTY)}"
        )
    low, high = data.scale_min, data.scale_max
    if data.train_crop == "scale_jitter_crop" and 4 * size < low + high:
        found.append(
            f"the training sees {size} of {low} to {high} px of the shorter side; train"
            f" with --config.data.scale_min={fix} --config.data.scale_max={2 * size}"
        )
    padding = data.crop_padding
    if data.train_crop == "pad_crop" and 2 * padding > size:
        found.append(
            f"the training shifts images of {size} px by up to {padding} px; train with"
            f" --config.data.crop_padding={size // 8}"
        )
    return found


def evaluation_view(image: np.ndarray, data: DataConfig) -> np.ndarray:
    """Returns the view of an image for evaluation, [eval_size, eval_size, channels].

    An encoded image: the shorter side is resized to eval_resize px, and the central
    eval_size px are cut out. An image in memory: the whole image is resized or padded
    to eval_size, by the setting `fit`; an image too large to pad is first resized and
    cropped to eval_resize.
    """
    return central_view(image, data, eval_size(data))


def central_view(image: np.ndarray, data: DataConfig, size: int) -> np.ndarray:
    """Returns the view for evaluation at another size, [size, size, channels]."""
    if not is_in_memory(data):
        return transforms.resize_centre_crop(image, data.eval_resize, size)
    if data.fit == "resize":
        return transforms.resize_centre_crop(image, size, size)
    if max(image.shape[:2]) > size:
        side = min(data.eval_resize, size)
        image = transforms.resize_centre_crop(image, side, side)
    return transforms.pad_to(image, size)


def source_side(data: DataConfig) -> int:
    """Returns the side of what ``source_view`` gives, px; 0: the image's own."""
    if data.train_crop in ("random_resized_crop", "scale_jitter_crop"):
        return 0
    if data.train_crop in ("square_crop", "ten_crop"):
        return max(data.eval_resize, data.image_size)
    return data.image_size


def source_view(image: np.ndarray, data: DataConfig) -> np.ndarray:
    """Returns that out of which a training cuts: the same in each epoch.

    It is the image, if each crop has another scale; or its central square at the one
    scale of all crops; or the crop itself, [side, side, channels].
    """
    side = source_side(data)
    if data.train_crop in ("square_crop", "ten_crop"):
        return transforms.resize_centre_crop(image, side, side)
    return central_view(image, data, side) if side else image


class SingleView(NamedTuple):
    """The view for evaluation alone, as `boxes.Crops` has several."""

    data: DataConfig

    @property
    def number(self) -> int:
        """The number of views of an image."""
        return 1

    def bucket(self, shape: tuple[int, ...]) -> None:
        """Returns None: the views of all images have the same shape."""

    def stacks(self, bucket: Any = None) -> list[tuple[int, int, int]]:
        """Returns the shapes of what `cut` returns, without channels."""
        return [(1, eval_size(self.data), eval_size(self.data))]

    def cut(self, image: np.ndarray, bucket: Any = None) -> list[np.ndarray]:
        """Returns the view of a decoded image: one array [1, size, size, C]."""
        return [evaluation_view(image, self.data)[None]]


def load_batch(
    source: Source, indices: Sequence[int] | np.ndarray, data: DataConfig
) -> dict[str, np.ndarray]:
    """Loads examples of a split in the view for evaluation.

    Returns:
      "image" uint8 [N, eval_size, eval_size, channels], "label" int32 [N] and "mask"
      bool [N]. Where the index is beyond the split or the image cannot be read, the
      mask is false, and image and label are zeros.
    """
    size = eval_size(data)
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
    """Lists an image file, or the images of a folder and its sub-folders, by name.

    Raises:
      UsageError: there is no image.
    """
    if os.path.isfile(path):
        return [path]
    files = image_files_below(path) if os.path.isdir(path) else []
    if not files:
        rule = "no such file or folder"
        if os.path.exists(path):
            rule = "has no images" if os.path.isdir(path) else "is not a file"
        raise UsageError(
            f"--images={path}: {rule}; give a JPEG, PNG, WebP or BMP file, or a folder"
            " of them"
        )
    return files


def load_image(path: str, data: DataConfig) -> np.ndarray:
    """Decodes a user's own image file; uint8 [height, width, channels].

    It is as a viewer shows it, unless the network learned from the user's own folder in
    another way: how a published data set is read says nothing of other pictures.

    Raises:
      UnreadableImageError: the file is not a readable image; the text is the reason.
    """
    shown = data.pixels == "shown" or data.source != "folder"
    return decode(read_image_file(path), data.channels, shown=shown)
