"""Draws how training scales, and the bytes that devices send."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter, StrMethodFormatter
from ml_collections import ConfigDict

from cnn_arch.drawing.canvas import BLUE, ORANGE, PURPLE, SKY, WIDTH, YELLOW, styled
from cnn_arch.scaling.prediction import Network, Prediction, Setting, sent_by_part

COLORS = {"data parallel": BLUE, "split": ORANGE}
MARKERS = {"data parallel": "o", "split": "s"}
PARTS = {
    "gradients of convolutions": SKY,
    "gradients of dense layers": PURPLE,
    "activations": YELLOW,
    "norms and metrics": "black",
}
TITLES = {
    "weak": "weak: {} images a device",
    "strong": "strong: {} images in all",
}


@styled
def draw(
    config: ConfigDict,
    found: Sequence[Network],
    made: Sequence[Prediction],
    setting: Setting,
) -> Figure:
    """Draws the efficiency of data parallelism and of the split, and the bytes sent.

    ``made`` are the predictions for ``found``, the network whole and split.
    """
    figure = Figure(figsize=(WIDTH, 6), layout="constrained")
    grid = figure.subplots(1, 3, width_ratios=(1, 1, 0.9))
    for axes, (mode, title) in zip(grid, TITLES.items(), strict=False):
        _efficiency(axes, [each for each in made if each.mode == mode])
        axes.set_title(title.format(config.batch_size))
    grid[0].set_ylabel("of the speed of as many single devices")
    figure.legend(
        *grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4
    )
    most = max(each.devices for each in made if each.mode == "weak")
    sent = {
        f"{_scheme(each)}\n{each.data} x {each.model}": sent_by_part(found, each)
        for each in made
        if (each.mode, each.devices) == ("weak", most)
    }
    _sent(grid[2], sent)
    grid[2].set_title(f"a device of {most} sends, MB")
    figure.suptitle(
        f"{config.model.name}, {config.precision}: predicted on "
        f"{setting.device.name}, {setting.link.bandwidth / 1e9:.4g} GB/s",
        fontsize=18,
    )
    return figure


def _scheme(each: Prediction) -> str:
    return "split" if each.model > 1 else "data parallel"


def _efficiency(axes: Axes, made: Sequence[Prediction]) -> None:
    """Draws a band for each scheme: no gradients overlap, to all gradients overlap."""
    for scheme, color in COLORS.items():
        chosen = [each for each in made if _scheme(each) == scheme]
        if not chosen:
            continue
        devices = [each.devices for each in chosen]
        low = [each.efficiency for each in chosen]
        high = [each.overlapped_efficiency for each in chosen]
        axes.fill_between(devices, low, high, color=color, alpha=0.18, linewidth=0)
        axes.plot(devices, low, color=color, marker=MARKERS[scheme], label=scheme)
        text = f"{scheme}, gradients overlap"
        axes.plot(devices, high, color=color, linestyle=":", label=text)
    ticks = sorted({each.devices for each in made})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("devices")
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(True)
    axes.set_axisbelow(True)


def _sent(axes: Axes, sent: Mapping[str, Mapping[str, float]]) -> None:
    """Draws a stack of megabytes for each scheme."""
    for place, parts in enumerate(sent.values()):
        bottom = 0.0
        for part, color in PARTS.items():
            height = parts[part] / 1e6
            axes.bar(place, height, bottom=bottom, color=color, width=0.6)
            bottom += height
        axes.annotate(
            f"{bottom:,.0f}",
            xy=(place, bottom),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
        )
    most = max(sum(parts.values()) for parts in sent.values())
    # Parts below 0.5 % are invisible.
    shown = [
        name
        for name in PARTS
        if any(parts[name] > most / 200 for parts in sent.values())
    ]
    handles = [Patch(color=PARTS[name]) for name in shown]
    axes.legend(handles[::-1], shown[::-1], loc="upper right", fontsize=12)
    axes.set_ylim(0, 1.5 * most / 1e6)  # room for the legend above the bars
    axes.set_xticks(range(len(sent)), list(sent))
    axes.set_xlim(-0.6, len(sent) - 0.4)
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
