"""Decoded training images that stay in memory: later epochs need not decode them.

What stays is all that the crops need: whole images if each crop has another scale, and
otherwise the central square at the scale of all crops. Where nothing can stay, and the
crops are random boxes, later epochs decode only the boxes.
"""

import threading
from functools import partial
from typing import Any

import numpy as np

from cnn_arch.data.bundled import ArraySource
from cnn_arch.data.jpeg_parts import JpegParts, library
from cnn_arch.data.sources import DataConfig, Source, read_image, read_shape
from cnn_arch.data.views import source_side, source_view
from cnn_arch.parallel import memory, processes

NUM_SAMPLES = 64  # images from whose sizes the whole split's is estimated
Example = tuple[Any, int]  # an array, JpegPixels or None; and the label


class KeptImages:
    """The images of a split; each is decoded once, if all have room in memory.

    Threads may share it.
    """

    def __init__(self, source: Source, data: DataConfig, room: int):
        """Keeps images in at most ``room`` bytes."""
        self._source, self._data, self._room = source, data, room
        self._kept: dict[int, Example] = {}
        self._lock = threading.Lock()
        self._parts = None
        if not room and _reads_parts(source, data):
            self._parts = JpegParts(len(source))

    def read(self, index: int) -> Example:
        """Returns the ``source_view`` of an image, and its label; or None, and -1.

        Nobody may write to the image. Without room, it may be ``JpegPixels``.
        """
        if found := self._kept.get(index):
            return found
        if self._parts:
            decode = partial(self._parts.decode, index)
            return read_image(self._source, index, self._data, decode=decode)
        side = self._data.decode_side
        image, label = read_image(self._source, index, self._data, side)
        if image is None:
            return image, label
        image = source_view(image, self._data)
        if image.nbytes > self._room:
            return image, label
        found = image.copy(), label  # it may be a part of a larger array
        self._keep(index, found)
        return found

    def _keep(self, index: int, example: tuple[np.ndarray, int]) -> None:
        image, _ = example
        with self._lock:
            if index not in self._kept and image.nbytes <= self._room:
                self._room -= image.nbytes
                image.flags.writeable = False
                self._kept[index] = example


def _reads_parts(source: Source, data: DataConfig) -> bool:
    """Returns whether the crops read only a part of an encoded image."""
    is_cut = data.train_crop == "random_resized_crop" and not data.decode_side
    return is_cut and not isinstance(source, ArraySource) and library() is not None


def room_for(source: Source, data: DataConfig) -> int:
    """Returns the bytes in which a split may be kept: 0 if it needs more.

    The limit is ``data.keep_decoded`` of the free memory, which the processes on this
    machine share. The need is estimated from the sizes of some images.
    """
    if isinstance(source, ArraySource) or not data.keep_decoded:
        return 0
    free = memory.available() / processes.num_on_this_host()
    room = int(data.keep_decoded * free)
    return room if _needed_bytes(source, data) <= room else 0


def _needed_bytes(source: Any, data: DataConfig) -> float:
    count = len(source)
    if side := source_side(data):
        return count * data.channels * side**2
    chosen = np.unique(np.linspace(0, count - 1, NUM_SAMPLES).astype(int)).tolist()
    shapes = [read_shape(source, index, data, data.decode_side) for index in chosen]
    pixels = [height * width for height, width in filter(None, shapes)]
    return count * data.channels * float(np.mean(pixels)) if pixels else 0.0
