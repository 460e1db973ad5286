"""The pictures docs/batches/NAME.jpg, and their section in docs/recipes.md.

``python -m tests.contact_sheets`` writes both anew. Recipes that augment alike share a
picture: one image, many times, by the batches and the step that train the network.
"""

from collections import defaultdict
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from cnn_arch import settings
from cnn_arch.data import bundled, transforms
from cnn_arch.data.bundled import ArraySource
from cnn_arch.data.loading import TrainBatches
from cnn_arch.data.statistics import with_counts
from cnn_arch.drawing import canvas
from cnn_arch.parallel.mesh import make_mesh
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen
from cnn_arch.training.preview import NUM_IMAGES, Preview, describe

ROOT = Path(__file__).parents[1]
PAGE, FOLDER = ROOT / "docs" / "recipes.md", ROOT / "docs" / "batches"
BEGIN, END = "<!-- batches -->\n", "<!-- end of batches -->\n"
TILE = 0.9  # inches


@cache
def groups() -> dict[str, list[str]]:
    """Returns the recipes by how they augment, as ``describe`` says it."""
    found = defaultdict(list)
    for path in sorted((ROOT / "configs").glob("[a-z]*.py")):
        if path.stem != "base":
            config, _ = settings.parse([f"--config={path.stem}"])
            found[describe(config.data)].append(path.stem)
    return dict(found)


def section() -> str:
    """Returns the section: the recipes, their settings and their picture."""
    parts = []
    for text, names in groups().items():
        quoted = ", ".join(f"`{name}`" for name in names)
        picture = f"![one image in a batch of {names[0]}](batches/{names[0]}.jpg)"
        parts.append(f"{quoted}: {text}\n\n{picture}\n")
    return "\n".join(parts)


def page_with(new: str) -> str:
    """Returns the page with this section."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{new}{END}{rest.partition(END)[2]}"


def repeated(image: np.ndarray) -> ArraySource:
    """Returns a split of one image, as often as it is drawn."""
    images = np.stack([image] * NUM_IMAGES)
    return ArraySource(images, np.zeros(NUM_IMAGES, np.int32), [""] * NUM_IMAGES)


def photograph() -> np.ndarray:
    """Reads Grace Hopper's portrait by the US Navy, which is in the public domain.

    It comes with matplotlib, whose pull request 1599 names the licence.
    """
    path = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
    return np.asarray(Image.open(path).convert("RGB"))


def draw(name: str, *others: str) -> None:
    """Draws the view of one image in evaluation, and how recipes train on it."""
    parsed, _ = settings.parse([f"--config={name}"])
    config = settings.derive(parsed, {"batch_size": NUM_IMAGES})
    source, counted = sources(config)
    run = Run(FOLDER, Screen(quiet=True))
    config = with_counts(config, counted, run)
    batches = TrainBatches(source, config.data, seed=config.seed, batch_size=NUM_IMAGES)
    preview = Preview([], config, batches, ("",), make_mesh(1, 1))
    images, _ = preview.images()
    tiles = [*batches.evaluation_views(0, 1), *images[1:]]
    captions = ["evaluation", "training", *[""] * (NUM_IMAGES - 2)]
    title = f"{name} and {len(others)} more" if others else name
    figure = canvas.styled(canvas.mosaic)(title, tiles, captions, size=TILE)
    small = {"quality": 75, "optimize": True}
    figure.savefig(FOLDER / f"{name}.jpg", dpi=110, pil_kwargs=small)


def sources(config: ConfigDict) -> tuple[ArraySource, ArraySource]:
    """Returns the image that a recipe is shown with, and images to count numbers of."""
    if config.data.source == "mnist5k":
        digits = bundled.mnist5k(config.data.channels)["train"]
        source = repeated(digits.images[np.flatnonzero(digits.labels == 4)[0]])
        return source, source
    photo = photograph()
    if config.data.name != "cifar10":
        return repeated(photo), repeated(photo)
    generator, size = np.random.default_rng(0), 32
    uniforms = generator.random((5000, transforms.NUM_CROP_UNIFORMS))
    crop = transforms.random_resized_crop
    parts = [crop(photo, row, size=size, min_area=0.01) for row in uniforms]
    counted = ArraySource(np.stack(parts), np.zeros(5000, np.int32), [""] * 5000)
    return repeated(transforms.resize_centre_crop(photo, size, size)), counted


if __name__ == "__main__":
    for names in groups().values():
        draw(*names)
    wanted = {f"{name}.jpg" for name, *_ in groups().values()}
    for path in FOLDER.iterdir():
        if path.name not in wanted:
            path.unlink()
    PAGE.write_text(page_with(section()), encoding="utf-8")
