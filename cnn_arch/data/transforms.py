"""Pure functions from image to image, both uint8 [height, width, channels].

No function draws a random number. Each takes numbers that are uniform in [0, 1): row i
is for image i of a batch. An image is therefore the same in any thread or process.
"""

import math

import cv2
import numpy as np
from PIL import Image

from cnn_arch.data.jpeg_parts import JpegPixels

# Of a resized image. Of a larger one, as of 1 x 4,000 px with a shorter side of 256,
# only the part that is needed is made.
MAX_RESIZED_PIXELS = 2**24
ASPECT_RANGE = (3 / 4, 4 / 3)
CROP_TRIES = 10
NUM_CROP_UNIFORMS = 2 * CROP_TRIES + 2  # the most that a function here takes

cv2.setNumThreads(0)  # the loader's threads already use all cores


# Evaluation: one view of each image.


def resize_shorter_side(image: np.ndarray, size: int) -> np.ndarray:
    """Resizes the shorter side to `size` px; bilinear, antialiased."""
    channels = image.shape[2]
    if min(image.shape[:2]) == size:
        return image
    height, width = resized_shape(image.shape[:2], size)
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    resized = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    return resized.reshape(height, width, channels)


def resized_shape(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """Returns height and width once the shorter side is resized to `size` px."""
    height, width = shape
    # The longer side is rounded down, as in torchvision's Resize.
    if width <= height:
        return max(1, size * height // width), size
    return size, max(1, size * width // height)


def centre_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Cuts out the central square of `size` px; the image is at least that large."""
    top = round((image.shape[0] - size) / 2)
    left = round((image.shape[1] - size) / 2)
    return image[top : top + size, left : left + size]


def resize_centre_crop(image: np.ndarray, resize: int, size: int) -> np.ndarray:
    """Resizes the shorter side to `resize` px, then cuts the central `size` px."""
    height, width, _ = image.shape
    shorter, longer = sorted((height, width))
    if resize * resize * longer // shorter <= MAX_RESIZED_PIXELS:
        return centre_crop(resize_shorter_side(image, resize), size)
    side = shorter * size / resize
    return resize_part(image, (height - side) / 2, (width - side) / 2, side, size)


def resize_part(
    image: np.ndarray, top: float, left: float, side: float, size: int
) -> np.ndarray:
    """Resizes a square of the image, in fractions of px, to ``size`` px."""
    channels = image.shape[2]
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    box = left, top, left + side, top + side
    part = picture.resize((size, size), Image.Resampling.BILINEAR, box)
    return np.asarray(part).reshape(size, size, channels)


def pad_to(images: np.ndarray, size: int) -> np.ndarray:
    """Pads images [..., height, width, channels] with zeros to `size` px."""
    height, width = images.shape[-3:-1]
    top, left = (size - height) // 2, (size - width) // 2
    margins = [(0, 0)] * images.ndim
    margins[-3:-1] = [(top, size - height - top), (left, size - width - left)]
    return np.pad(images, margins)


# Training, one image at a time.


def random_resized_crop_box(
    height: int, width: int, uniforms: np.ndarray, *, min_area: float
) -> tuple[int, int, int, int]:
    """Samples the box that Szegedy et al. 2015 train on, by torchvision's algorithm.

    The uniforms [22] are for area and aspect of ten tries, and for the two offsets. The
    box has at least the share `min_area` of the image's area.

    Returns:
      top, left, height and width of the box.
    """
    low, high = ASPECT_RANGE
    for area_uniform, aspect_uniform in uniforms[: 2 * CROP_TRIES].reshape(-1, 2):
        area = height * width * (min_area + (1 - min_area) * area_uniform)
        aspect = low * (high / low) ** aspect_uniform  # uniform in the logarithm
        box_width = round(math.sqrt(area * aspect))
        box_height = round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(uniforms[-2] * (height - box_height + 1))
            left = int(uniforms[-1] * (width - box_width + 1))
            return top, left, box_height, box_width
    # No try fits: the central box of the nearest aspect in range.
    box_width = min(width, round(height * high))
    box_height = min(height, round(width / low))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def random_resized_crop(
    image: np.ndarray | JpegPixels,
    uniforms: np.ndarray,
    *,
    size: int,
    min_area: float,
    method: int | None = None,
) -> np.ndarray:
    """Resizes a random box of the image to a square of `size` px."""
    height, width, _ = image.shape
    box = random_resized_crop_box(height, width, uniforms, min_area=min_area)
    top, left, height, width = box
    return _resize(image[top : top + height, left : left + width], size, size, method)


def scale_jitter_crop(
    image: np.ndarray,
    uniforms: np.ndarray,
    *,
    size: int,
    scales: tuple[int, int],
    method: int | None = None,
) -> np.ndarray:
    """Cuts a random square of `size` px out of the image at a random scale.

    The uniforms [3] are for scale, vertical and horizontal offset. Scaling makes the
    shorter side between `scales` px long, both included and at least `size`.
    """
    height, width, _ = image.shape
    low, high = scales
    scale = low + int(uniforms[0] * (high - low + 1))
    new_height = max(scale, height * scale // width)
    new_width = max(scale, width * scale // height)
    top = int(uniforms[1] * (new_height - size + 1))
    left = int(uniforms[2] * (new_width - size + 1))
    if new_height * new_width > MAX_RESIZED_PIXELS:
        ratio = min(height, width) / scale
        return resize_part(image, ratio * top, ratio * left, ratio * size, size)
    resized = _resize(image, new_height, new_width, method)
    return resized[top : top + size, left : left + size]


def square_crop(square: np.ndarray, uniforms: np.ndarray, *, size: int) -> np.ndarray:
    """Cuts a random square of `size` px out of a larger one.

    Krizhevsky et al. 2012, Sections 2 and 4.1: the shorter side is resized to 256 px,
    the central 256x256 px are cut out, and of these 224x224 anywhere. The uniforms [2]
    are for the vertical and the horizontal offset.
    """
    top, left = (int(uniform * (len(square) - size + 1)) for uniform in uniforms)
    return square[top : top + size, left : left + size]


def five_place_crop(square: np.ndarray, uniform: float, *, size: int) -> np.ndarray:
    """Cuts `size` px out of the centre or a corner of a larger square.

    Zeiler and Fergus 2013, "Visualizing and Understanding Convolutional Networks",
    Section 3: "10 different sub-crops of size 224x224 (corners + center with(out)
    horizontal flips)". The uniform chooses one of the five places.
    """
    place, end = int(5 * uniform), len(square) - size
    if place == 4:
        return centre_crop(square, size)
    top, left = end * (place // 2), end * (place % 2)
    return square[top : top + size, left : left + size]


# Szegedy et al. 2015, Section 6: "random interpolation methods (bilinear, area, nearest
# neighbor and cubic, with equal probability)".
INTERPOLATIONS = (
    cv2.INTER_LINEAR,
    cv2.INTER_AREA,
    cv2.INTER_NEAREST,
    cv2.INTER_CUBIC,
)


def _resize(
    image: np.ndarray, height: int, width: int, method: int | None = None
) -> np.ndarray:
    """Resizes fast: bilinear, or by averages where bilinear would skip pixels.

    A method of ``INTERPOLATIONS`` does so in any case.
    """
    if method is None:
        shrinks = image.shape[0] >= 2 * height or image.shape[1] >= 2 * width
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(image, (width, height), interpolation=method)
    return resized.reshape(height, width, image.shape[2])


def flip(image: np.ndarray) -> np.ndarray:
    """Mirrors an image, left for right."""
    return cv2.flip(image, 1).reshape(image.shape)


# Training, a batch of equal images [B, height, width, channels] at a time.


def affine(images: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Distorts each image a little, as LeCun et al. 1998, Section III.C, describe.

    "Horizontal and vertical translations, scaling, squeezing (simultaneous horizontal
    compression and vertical elongation, or the reverse), and horizontal shearing."
    The paper gives no ranges. We chose 2 px, 15 %, 15 % and 0.3, and added a rotation
    by up to 0.25 radians. Zeros fill the edges. The uniforms are float [B, 6].
    """
    height, width, channels = images.shape[1:]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    ranges = np.array([2, 2, np.log(1.15), np.log(1.15), 0.3, 0.25])
    distorted = np.empty_like(images)
    for i, parameters in enumerate((2 * uniforms - 1) * ranges):
        shift, (scale, squeeze, shear, angle) = parameters[:2], parameters[2:]
        # From a pixel of the output to its place in the input.
        matrix = np.array(
            [[np.exp(scale + squeeze), shear], [0, np.exp(scale - squeeze)]]
        )
        cosine, sine = np.cos(angle), np.sin(angle)
        matrix = matrix @ [[cosine, -sine], [sine, cosine]]
        offset = centre + shift - matrix @ centre
        distorted[i] = cv2.warpAffine(
            images[i],
            np.column_stack([matrix, offset]),
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        ).reshape(height, width, channels)
    return distorted
