"""Reads one image of a data set, wherever it is."""

from collections.abc import Callable
from typing import Any

from cnn_arch.data import decoding
from cnn_arch.data.bundled import ARRAYS, ArraySource
from cnn_arch.data.folder import FileSource
from cnn_arch.data.records import RecordSource
from cnn_arch.errors import RunError
from cnn_arch.parallel import cores

Source = ArraySource | FileSource | RecordSource
DataConfig = Any  # config.data, a locked ConfigDict: its fields have no static types

SKIP = "--config.data.skip_broken=true"


def is_in_memory(data: DataConfig) -> bool:
    """Returns whether the images are decoded arrays, not encoded files."""
    return data.in_memory or data.source in ARRAYS


def num_threads(source: Source, data: DataConfig) -> int:
    """Returns the number of threads to read a source with; arrays need only one."""
    if isinstance(source, ArraySource):
        return 1
    return data.num_threads or cores.usable()


def read_image(
    source: Source,
    index: int,
    data: DataConfig,
    least_side: int = 0,
    decode: Callable[..., Any] = decoding.decode,
) -> tuple[Any, int]:
    """Reads an example, and decodes it by ``decode`` with this ``least_side``.

    Returns:
      The image, uint8 [height, width, channels] at its own size, and its label. With
      config.data.skip_broken, an image that cannot be read is None, and its label -1.

    Raises:
      RunError: the image cannot be read.
    """
    if isinstance(source, ArraySource):
        return source.images[index], int(source.labels[index])
    try:
        encoded, label = source.example(index)
        shown = data.pixels == "shown"
        channels = data.channels
        image = decode(encoded, channels, shown=shown, least_side=least_side)
        return image, label
    except decoding.UnreadableImageError as error:
        if data.skip_broken:
            return None, -1
        raise RunError(
            f"{source.name(index)}: not a readable image ({error}); add {SKIP} to"
            f" leave it out (1 of {len(source):,} files)"
        ) from None


def read_shape(
    source: Source, index: int, data: DataConfig, least_side: int = 0
) -> tuple[int, int] | None:
    """Returns the height and width that ``read_image`` gives; None: a damaged header.

    It decodes no pixels, so an image with a shape may still be unreadable.
    """
    if isinstance(source, ArraySource):
        return source.images.shape[1], source.images.shape[2]
    try:
        encoded, _ = source.example(index)
        shown = data.pixels == "shown"
        return decoding.image_shape(encoded, shown=shown, least_side=least_side)
    except decoding.UnreadableImageError:
        return None
