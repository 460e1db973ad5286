"""Writes draws.json: how torchvision's random transforms are distributed.

    PYTHON tests/data/make_draws.py

This Python needs torch and torchvision; the tests do not. For each transform and each
number that it draws, the file has some values and the share of the draws below each. It
also has an image whose colours torchvision's functions have changed.
"""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import torchvision  # pyright: ignore[reportMissingImports]
from torchvision.transforms import v2  # pyright: ignore[reportMissingImports]

NUM_DRAWS = 100_000
NUM_POINTS = 41  # of each distribution
CROPPED = {"photo": (300, 400), "strip": (100, 1000)}  # height, width
ERASED, MIXED, PADDED = (20, 30), (16, 24), (12, 12)
ORDERS = list(itertools.permutations(range(4)))
COLOURS = {"brightness": 1.3, "contrast": 0.6, "saturation": 1.7, "hue": 0.2}

Draws = dict[str, list[float]]


def boxes(draw: Callable[[], tuple[float, ...] | None]) -> Draws:
    """Draws boxes: top, left, height and width of those that are not None."""
    drawn = [draw() for _ in range(NUM_DRAWS)]
    found = np.array([box for box in drawn if box is not None], float)
    names = ("top", "left", "height", "width")
    columns = {name: found[:, i].tolist() for i, name in enumerate(names)}
    return columns | {"any": [float(box is not None) for box in drawn]}


def box_of(mask: np.ndarray) -> tuple[float, ...] | None:
    """Returns the box of the true pixels; None: there are none."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    sides = rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1
    return tuple(map(float, sides))


def random_resized_crop(shape: tuple[int, int]) -> Draws:
    """The boxes that GoogLeNet's paper trains on."""
    transform, image = v2.RandomResizedCrop(224), torch.zeros(3, *shape)

    def draw() -> tuple[float, ...]:
        drawn = transform.make_params([image])
        return drawn["top"], drawn["left"], drawn["height"], drawn["width"]

    return boxes(draw)


def padded_crop() -> Draws:
    """The place of a crop of a padded image, and whether it is mirrored."""
    crop = v2.RandomCrop(PADDED, padding=4)
    mirror = v2.RandomHorizontalFlip()
    places = torch.arange(144.0).reshape(1, *PADDED)
    pixels = [float(crop(places)[0, 6, 6]) for _ in range(NUM_DRAWS)]
    pair = torch.tensor([[[0.0, 1.0]]])
    mirrored = [float(mirror(pair)[0, 0, 0]) for _ in range(NUM_DRAWS)]
    rows, columns = np.divmod(pixels, 12)
    return {"row": rows.tolist(), "column": columns.tolist(), "mirrored": mirrored}


def colour_jitter() -> Draws:
    """The factors of the four changes, and the number of their order."""
    transform = v2.ColorJitter(0.5, 0.4, 0.3, 0.1)
    drawn = [transform.make_params([]) for _ in range(NUM_DRAWS)]
    orders = [ORDERS.index(tuple(each["fn_idx"].tolist())) for each in drawn]
    factors = {kind: [each[f"{kind}_factor"] for each in drawn] for kind in COLOURS}
    return factors | {"order": [float(order) for order in orders]}


def random_erasing() -> Draws:
    """The boxes of an erasing with probability 0.25."""
    transform, ones = v2.RandomErasing(0.25), torch.ones(1, *ERASED)
    return boxes(lambda: box_of(transform(ones)[0].numpy() == 0))


def trivial_augment() -> Draws:
    """The operation's number, its signed strength or its bits or its threshold."""
    drawn: list[tuple[str, float]] = []

    class Recording(v2.TrivialAugmentWide):
        def _apply_image_or_video_transform(self, image, name, magnitude, **_):
            drawn.append((name, magnitude))
            return image

    transform = Recording()
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    for _ in range(NUM_DRAWS):
        transform(image)
    names = list(transform._AUGMENTATION_SPACE)
    found: Draws = {"operation": [float(names.index(name)) for name, _ in drawn]}
    for name in names[1:12]:
        found[name] = [strength for each, strength in drawn if each == name]
    return found


def mixing() -> Draws:
    """The share of mixup with alpha 0.2; share and box of CutMix with alpha 1."""
    mixup = v2.MixUp(alpha=0.2, num_classes=2)
    cutmix = v2.CutMix(alpha=1.0, num_classes=2)
    batch = torch.stack([torch.zeros(1, *MIXED), torch.ones(1, *MIXED)])
    shares: list[float] = []

    def draw() -> tuple[float, ...] | None:
        params = cutmix.make_params([batch])
        shares.append(params["lam_adjusted"])
        left, top, right, bottom = params["box"]
        empty = top == bottom or left == right
        return None if empty else (top, left, bottom - top, right - left)

    found = {f"cutmix_{name}": values for name, values in boxes(draw).items()}
    found["mixup"] = [mixup.make_params([batch])["lam"] for _ in range(NUM_DRAWS)]
    return found | {"cutmix": shares}


def distribution(values: list[float]) -> dict[str, list[float]]:
    """Returns numbers at even ranks, and the share of all draws that are below each.

    A number is halfway between two draws, so rounding changes no share.
    """
    ordered, distinct = np.sort(values), np.unique(values)
    ranks = np.linspace(0, len(ordered) - 1, NUM_POINTS).astype(int)
    places = np.unique(np.searchsorted(distinct, ordered[ranks]))
    places = places[places < len(distinct) - 1]
    points = (distinct[places] + distinct[places + 1]) / 2
    shares = np.searchsorted(ordered, points) / len(ordered)
    numbers = [float(f"{x:.10g}") for x in points]
    return {"values": numbers, "shares": shares.round(5).tolist()}


def recoloured() -> dict[str, list]:
    """Changes the colours of an image of random pixels, float32 from 0 to 1."""
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3)).astype(np.float32)
    tensor = torch.from_numpy(image / 255).permute(2, 0, 1)
    changed: dict[str, list] = {}
    for kind, factor in COLOURS.items():
        change = getattr(v2.functional, f"adjust_{kind}")
        pixels = 255 * change(tensor, factor).permute(1, 2, 0).numpy()
        changed[kind] = pixels.round(3).tolist()
    return changed


if __name__ == "__main__":
    torch.manual_seed(0)
    drawn: dict[str, Draws] = {
        **{f"crop_{name}": random_resized_crop(CROPPED[name]) for name in CROPPED},
        "padded_crop": padded_crop(),
        "colour_jitter": colour_jitter(),
        "erasing": random_erasing(),
        "trivial_augment": trivial_augment(),
        "mixing": mixing(),
    }
    result: dict[str, Any] = {
        name: {key: distribution(values) for key, values in draws.items()}
        for name, draws in drawn.items()
    }
    result |= {"torchvision": torchvision.__version__, "num_draws": NUM_DRAWS}
    result["recoloured"] = recoloured()
    path = Path(__file__).with_name("draws.json")
    path.write_text(json.dumps(result) + "\n")
