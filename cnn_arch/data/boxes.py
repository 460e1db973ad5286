"""The boxes of an image that the papers' tests show to a network.

A box is a square of the image after its shorter side was resized to ``scale`` px. Boxes
depend on the shape of the image alone, and their number only on the protocol.

What the papers do not say, and what is ours: the grid of ``multi_crop`` covers the
whole resized image; ``twelve_crop`` is the six views of the central square and their
mirrored versions, since the papers name 12 crops "as described in [14]", the paper of
the 144, and print neither squares nor scales.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from cnn_arch.data import transforms

Shape = tuple[int, ...]  # height and width, px
Place = tuple[int, int, int]  # top, left and side of a box in the resized image, px


class Box(NamedTuple):
    """A square of a resized image."""

    scale: int  # shorter side of the resized image, px
    top: int  # in the resized image, px
    left: int
    side: int  # px; a box of another side than the crop's is resized
    is_mirrored: bool


def _centre(shape: Shape, size: int) -> Place:
    """Returns the central square, rounded as in ``transforms.centre_crop``."""
    top, left = (round((length - size) / 2) for length in shape)
    return top, left, size


def _five(square: Place, size: int) -> list[Place]:
    """Returns the corners of a square, row by row, and its centre."""
    top, left, side = square
    end, middle = side - size, round((side - size) / 2)
    places = [(0, 0), (0, end), (end, 0), (end, end), (middle, middle)]
    return [(top + down, left + right, size) for down, right in places]


def _one(shape: Shape, size: int) -> list[list[Place]]:
    return [[_centre(shape, size)]]


def _ten(shape: Shape, size: int) -> list[list[Place]]:
    """Krizhevsky et al. 2012, Section 4.1, of the central square (Section 2).

    "The four corner patches and the center patch as well as their horizontal
    reflections (hence ten patches)."
    """
    return [_five(_centre(shape, min(shape)), size)]


def _twelve(shape: Shape, size: int) -> list[list[Place]]:
    square = _centre(shape, min(shape))
    return [[*_five(square, size), square]]


def _of_three_squares(shape: Shape, size: int) -> list[list[Place]]:
    """Szegedy et al. 2014, Section 7.

    "Take the left, center and right square of these resized images (in the case of
    portrait images, we take the top, center and bottom squares). For each square, we
    then take the 4 corners and the center 224x224 crop as well as the square resized to
    224x224, and their mirrored versions."
    """
    side = min(shape)
    last = shape[0] - side, shape[1] - side, side
    squares = (0, 0, side), _centre(shape, side), last
    return [[*_five(square, size), square] for square in squares]


def _grid(shape: Shape, size: int) -> list[list[Place]]:
    """Simonyan and Zisserman 2014, Section 3.2: "5 x 5 regular grid with 2 flips"."""
    tops, lefts = (
        [round(step * (length - size) / 4) for step in range(5)] for length in shape
    )
    return [[(top, left, size) for top in tops for left in lefts]]


# The places of each protocol at one scale, in groups; after each group, its mirrored
# places follow, but with ``one_crop`` and ``whole``.
PLACES: dict[str, Callable[[Shape, int], list[list[Place]]]] = {
    "one_crop": _one,
    "whole": _one,
    "ten_crop": _ten,
    "multi_crop": _grid,
    "twelve_crop": _twelve,
    "googlenet_144": _of_three_squares,
}
PLAIN = ("one_crop", "whole")  # no crop is mirrored


class Crops(NamedTuple):
    """The crops of a protocol."""

    protocol: str  # a key of PLACES
    scales: tuple[int, ...]  # shorter sides of the resized image, px
    size: int  # of a crop, px
    mirrors: bool  # false: no mirrored crops, for images that must not be mirrored

    def boxes(self, shape: Shape) -> list[Box]:
        """Returns the boxes of an image of this shape, in the paper's order."""
        flips = [False, True][: 1 + (self.mirrors and self.protocol not in PLAIN)]
        return [
            Box(scale, *place, is_mirrored=is_mirrored)
            for scale in self.scales
            for group in PLACES[self.protocol](
                transforms.resized_shape(shape, scale), self.size
            )
            for is_mirrored in flips
            for place in group
        ]

    @property
    def number(self) -> int:
        """The number of crops of an image."""
        return len(self.boxes((self.size, self.size)))

    def bucket(self, shape: Shape) -> None:
        """Returns None: the crops of all images have the same shape."""

    def stacks(self, bucket: Any = None) -> list[tuple[int, int, int]]:
        """Returns the shapes of what ``cut`` returns, without channels."""
        return [(self.number, self.size, self.size)]

    def cut(self, image: np.ndarray, bucket: Any = None) -> list[np.ndarray]:
        """Returns the crops of a decoded image: one array [number, size, size, C]."""
        return [cut(image, self.boxes(image.shape[:2]), self.size)]


def cut(image: np.ndarray, boxes: Sequence[Box], size: int) -> np.ndarray:
    """Cuts boxes out of an image uint8 [H, W, C]; each scale is resized only once."""
    crops = np.empty((len(boxes), size, size, image.shape[2]), np.uint8)
    resized: dict[int, np.ndarray | None] = {}  # None: too large to be made
    for crop, (scale, top, left, side, is_mirrored) in zip(crops, boxes, strict=True):
        if scale not in resized:
            shape = transforms.resized_shape(image.shape[:2], scale)
            fits = shape[0] * shape[1] <= transforms.MAX_RESIZED_PIXELS
            resized[scale] = (
                transforms.resize_shorter_side(image, scale) if fits else None
            )
        if (whole := resized[scale]) is not None:
            part = whole[top : top + side, left : left + side]
            part = transforms.resize_shorter_side(part, size)
        else:
            ratio = min(image.shape[:2]) / scale
            top, left, side = (ratio * length for length in (top, left, side))
            part = transforms.resize_part(image, top, left, side, size)
        crop[:] = part[:, ::-1] if is_mirrored else part
    return crops
