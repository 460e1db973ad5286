"""The files of ``analyze.py --figures`` and ``--report``."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.analysis import recipe
from cnn_arch.catalogue import cost_figures, diagram_figures, error_chart, page
from cnn_arch.catalogue.diagram import lay_out
from cnn_arch.catalogue.published import published_errors
from cnn_arch.costs.layers import LayerCost, costs_of_config
from cnn_arch.costs.modules import module_costs
from cnn_arch.costs.summary import totals
from cnn_arch.drawing import canvas
from cnn_arch.errors import UsageError
from cnn_arch.files import make_folder
from cnn_arch.models import MODELS
from cnn_arch.screen import Screen

# The networks to compare by receptive field, smallest first.
FIELDS = ("alexnet", "vgg16", "resnet50", "googlenet", "resnet34", "inception_v3")
FIELDS += ("resnet152", "inception_v4")


def write(
    figures_folder: str | None,
    report_folder: str | None,
    config: ConfigDict | None,
    screen: Screen,
) -> list[str]:
    """Writes figures and the page, each if its folder is given; returns the files.

    With ``config``, the recipe of a network, the figures include this network.

    Raises:
      UsageError: a folder cannot be made, or the batch is not one image.
    """
    if config is not None and config.batch_size != 1:
        raise UsageError(f"--batch={config.batch_size}: pictures are of one image")
    files = []
    if figures_folder:
        files += write_figures(Path(figures_folder), config, screen)
    if report_folder:
        files += write_report(Path(report_folder), screen)
    return files


def write_figures(folder: Path, config: ConfigDict | None, screen: Screen) -> list[str]:
    """Writes the comparisons, and the figures of a recipe's network; returns the files.

    Raises:
      UsageError: the folder cannot be made, or the network cannot be built.
    """
    own = {config.model.name: costs_of_config(config).rows} if config else {}
    make_folder(folder, f"--figures={folder}")
    sourced = [name for name in MODELS if published_errors(name, "ImageNet")]
    catalogue = _count(dict.fromkeys([*FIELDS, *sourced]), screen)
    made = {}
    for name, rows in own.items():
        made[f"{name}-layers"] = cost_figures.layer_bars(own)
        made[f"{name}-diagram"] = diagram_figures.draw_diagram(lay_out(name, rows))
    made["alexnet-vgg16"] = cost_figures.layer_bars(
        {name: catalogue[name] for name in ("alexnet", "vgg16")}
    )
    made["receptive-fields"] = cost_figures.receptive_fields(
        {**{name: catalogue[name] for name in FIELDS}, **own}
    )
    made["inception-naive-bottleneck"] = diagram_figures.inception_modules(
        {
            "naive: 28 x 28 x 256 in, 672 maps out": module_costs("naive inception"),
            "bottlenecks: 28 x 28 x 256 in, 480 out": module_costs("inception"),
        }
    )
    totalled = {name: totals(catalogue[name]) for name in sourced}
    made["error-operations"] = error_chart.error_against_operations(
        error_chart.find_bubbles(totalled)
    )
    files = []
    for stem, figure in made.items():
        files += [str(path) for path in canvas.write_slide(figure, folder, stem)]
        screen.say("wrote", f"{folder / stem}.png  .svg")
    return files


def write_report(folder: Path, screen: Screen) -> list[str]:
    """Writes the page of the whole catalogue; returns the file.

    Raises:
      UsageError: the folder cannot be made.
    """
    make_folder(folder, f"--report={folder}")
    path = page.write_report(folder, _count(MODELS, screen))
    size = path.stat().st_size / 1e6
    screen.say("wrote", f"{path}   ({len(MODELS)} networks, {size:.1f} MB)")
    return [str(path)]


def _count(names: Iterable[str], screen: Screen) -> dict[str, Sequence[LayerCost]]:
    """Returns the rows of each network with its recipe's settings, for one image."""
    names = list(names)
    rows = {}
    with screen.progress("count", len(names)) as progress:
        for name in names:
            config = recipe.choose(name, (), image_size=None, batch=1)
            config = settings.derive(config, {"precision": "float32"})
            rows[name] = costs_of_config(config).rows
            progress.advance(name)
    return rows
