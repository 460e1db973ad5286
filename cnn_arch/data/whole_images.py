"""Whole images at several scales, in few shapes.

A program is compiled for each shape of images, so images of nearly the same shape get
the same one: at the smallest scale, the longer side is the shorter side and a multiple
of 32 px, at most four times the shorter side. What is beyond that is cut off at both
ends: below 32 px at the smallest scale. The networks halve their maps five times, so a
step of their class map is 32 px. VGG, whose pools leave out what does not fill a
window, would ignore a part of less than 32 px in any case.
"""

from typing import Any, NamedTuple

import numpy as np

from cnn_arch.data import transforms

STEP = 32  # px
LONGEST = 4  # the longer side, in shorter sides


class Bucket(NamedTuple):
    """Images that get the same shapes."""

    num_steps: int  # of the longer side beyond the shorter one, at the smallest scale
    is_tall: bool


class WholeImages(NamedTuple):
    """Whole images, resized to each scale, and their mirrored versions."""

    scales: tuple[int, ...]  # shorter sides, px
    mirrors: bool  # false: no mirrored images

    @property
    def number(self) -> int:
        """The number of views of an image."""
        return len(self.scales) * (1 + self.mirrors)

    def bucket(self, shape: tuple[int, ...]) -> Bucket:
        """Returns the bucket of images of this height and width."""
        shorter, longer = sorted(shape)
        extra = min(longer, LONGEST * shorter) - shorter
        return Bucket(min(self.scales) * extra // shorter // STEP, shape[0] > shape[1])

    def stacks(self, bucket: Any) -> list[tuple[int, int, int]]:
        """Returns the shapes of what ``cut`` returns, without channels."""
        found = []
        for scale in self.scales:
            steps = scale * bucket.num_steps // min(self.scales)
            longer = scale + STEP * steps
            shape = (longer, scale) if bucket.is_tall else (scale, longer)
            found.append((1 + self.mirrors, *shape))
        return found

    def cut(self, image: np.ndarray, bucket: Any) -> list[np.ndarray]:
        """Returns the views of a decoded image.

        Returns:
          For each scale uint8 [1 or 2, H, W, C]: the image, and then mirrored.
        """
        longest = LONGEST * min(image.shape[:2])
        if max(image.shape[:2]) > longest:
            image = _middle(image, *(min(side, longest) for side in image.shape[:2]))
        views = []
        for _, height, width in self.stacks(bucket):
            resized = transforms.resize_shorter_side(image, min(height, width))
            view = _middle(resized, height, width)
            both = [view, view[:, ::-1]][: 1 + self.mirrors]
            views.append(np.stack(both))
        return views


def _middle(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cuts out the central part of an image."""
    top = (image.shape[0] - height) // 2
    left = (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
