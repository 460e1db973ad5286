"""The pictures, drawn and measured: right numbers, and no text over another."""

import itertools

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from PIL import Image

from cnn_arch.catalogue import cost_figures, diagram_figures, error_chart, pictures
from cnn_arch.catalogue.diagram import lay_out
from cnn_arch.costs.modules import module_costs
from cnn_arch.costs.summary import totals
from cnn_arch.drawing import canvas
from tests.costs.conftest import rows_of
from tests.paper_tables import TOTALS

SLOW = pytest.mark.slow
NETWORKS: list = ["lenet5", "alexnet", "vgg19_bn", "googlenet", "resnet152"]
OTHERS = "nin", "resnet50", "plain34", "resnet56"
NETWORKS += [pytest.param(name, marks=SLOW) for name in OTHERS]
LONGEST = [
    pytest.param(name, marks=SLOW)
    for name in ("inception_v3", "inception_v4", "resnet1202")
]


def shown_texts(figure: Figure) -> list[Text]:
    """Returns all texts except the labels of ticks outside the axes."""
    figure.draw_without_rendering()
    unseen = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not (axes.axison and low <= tick.get_loc() <= high):
                    unseen |= {tick.label1, tick.label2}
    return [
        text
        for text in figure.findobj(Text)
        if text not in unseen and text.get_visible() and text.get_text().strip()
    ]


def check_texts(figure: Figure, smallest: float = 9.0) -> list[str]:
    """Asserts that texts do not overlap or leave the figure; returns the texts."""
    texts = shown_texts(figure)
    boxes = [text.get_window_extent() for text in texts]
    for (a, box), (b, other) in itertools.combinations(
        zip(texts, boxes, strict=True), 2
    ):
        across = min(box.x1, other.x1) - max(box.x0, other.x0)
        along = min(box.y1, other.y1) - max(box.y0, other.y0)
        assert min(across, along) < 1, f"{a.get_text()!r} over {b.get_text()!r}"
    for text, box in zip(texts, boxes, strict=True):
        inside = figure.bbox.padded(1)
        assert inside.containsx(box.x0) and inside.containsx(box.x1), text
        assert inside.containsy(box.y0) and inside.containsy(box.y1), text
        assert float(text.get_fontsize()) >= smallest
    return [text.get_text() for text in texts]


@pytest.mark.parametrize("network", [*NETWORKS, *LONGEST])
def test_bars_are_readable(network):
    check_texts(cost_figures.layer_bars({network: rows_of(network)}))


def test_bars_of_alexnet_have_the_numbers_of_the_lecture():
    network = "alexnet_one_tower"
    figure = cost_figures.layer_bars({network: rows_of(network)})
    layers = [tick.get_text() for tick in figure.axes[2].get_xticklabels()]
    heights = [[bar.get_height() for bar in axes.containers[0]] for axes in figure.axes]
    memory, params, macs = (dict(zip(layers, row, strict=True)) for row in heights)
    # CS231n, lecture 9: 55x55x96, 6x6x256x4096 weights; MACs counted by hand.
    assert memory["conv1"] == 55 * 55 * 96 * 4 / 1024
    assert params["fc6"] == pytest.approx((6 * 6 * 256 + 1) * 4096 / 1e6)
    assert macs["conv2"] == pytest.approx(27 * 27 * 256 * 5 * 5 * 96 / 1e6)
    assert macs["pool1"] == params["pool1"] == 0
    assert "most in fc6" in figure.axes[1].get_title(loc="left")


@pytest.mark.parametrize("network", ["resnet50", "resnet152", *LONGEST])
def test_bars_of_deep_networks_add_up_to_the_totals(network):
    names, costs = cost_figures.cost_bars(rows_of(network))
    total = totals(rows_of(network))
    assert len(names) == costs.shape[1] <= 60
    image = rows_of(network)[0].output_bytes
    expected = total["activation_bytes"] - image, total["params"], total["macs"]
    np.testing.assert_array_equal(costs.sum(axis=1), expected)


def test_two_networks_share_their_scales():
    both = {name: rows_of(name) for name in ("alexnet", "vgg16")}
    figure = cost_figures.layer_bars(both)
    texts = check_texts(figure)
    left, right = figure.axes[:2]
    assert left.get_ylim() == right.get_ylim()
    assert "Parameters: 138 million, 2.27 times" in texts  # 138.36 of 60.97


def test_receptive_fields_are_the_published_ones():
    depths, fields = cost_figures.field_by_depth(rows_of("alexnet"))
    # google-research/receptive_field, alexnet_v2: the same kernels and strides.
    assert fields == [11, 19, 51, 67, 99, 131, 163, 195]
    assert depths == list(range(1, 9))
    published = {"vgg16": 212, "resnet50": 483, "inception_v3": 1311}
    for network, field in {**published, "inception_v4": 2071}.items():
        assert cost_figures.field_by_depth(rows_of(network))[1][-1] == field


@pytest.mark.parametrize("own", ["lenet5", "resnet20", "nin", "vgg16", "resnet152"])
def test_receptive_fields_are_readable(own):
    networks = list(dict.fromkeys([*pictures.FIELDS, own]))
    figure = cost_figures.receptive_fields({name: rows_of(name) for name in networks})
    texts = check_texts(figure)
    assert "vgg16  212" in texts
    # A line for each network; no two have the same colour and dashes.
    lines = [
        line
        for line in figure.axes[0].lines
        if line.get_linewidth() > 2 and line.get_marker() == "None"
    ]
    styles = {(line.get_color(), line.get_linestyle()) for line in lines}
    assert len(styles) == len(networks) == len(lines)


@pytest.mark.parametrize("network", NETWORKS)
def test_diagrams_are_readable(network):
    diagram = lay_out(network, rows_of(network))
    figure = diagram_figures.draw_diagram(diagram)
    check_texts(figure)
    (axes,) = figure.axes
    patches = [p for p in axes.patches if isinstance(p, FancyBboxPatch)]
    extents = [patch.get_window_extent() for patch in patches]
    inside = [
        text
        for text in shown_texts(figure)
        if any(
            extent.x0 - 1 <= text.get_window_extent().x0
            and text.get_window_extent().x1 <= extent.x1 + 1
            for extent in extents
            if extent.contains(*axes.transData.transform(text.get_position()))
        )
    ]
    lines = sum(len(box.lines) for box in diagram.boxes)
    assert len(inside) == lines  # each fits into its box
    for box, other in itertools.combinations(diagram.boxes, 2):
        across = min(box.x + box.width, other.x + other.width) - max(box.x, other.x)
        along = min(box.y + box.height, other.y + other.height) - max(box.y, other.y)
        assert min(across, along) <= 0, (box, other)


@pytest.mark.parametrize("network", NETWORKS)
def test_arrows_do_not_cross_boxes(network):
    diagram = lay_out(network, rows_of(network))
    for arrow in diagram.arrows:
        points = np.array(arrow.points)
        # Many points of the line, without its ends, which touch a box.
        steps = np.linspace(points[:-1], points[1:], 50, axis=1).reshape(-1, 2)[2:-2]
        for box in diagram.boxes:
            over = (
                (steps[:, 0] > box.x + 1)
                & (steps[:, 0] < box.x + box.width - 1)
                & (steps[:, 1] > box.y + 1)
                & (steps[:, 1] < box.y + box.height - 1)
            )
            assert not over.any(), (arrow, box)


def test_a_shortcut_leads_around_its_block():
    diagram = lay_out("resnet34", rows_of("resnet34"))
    texts = {box.lines: box for box in diagram.boxes}
    join = texts["add, 64-512", "ReLU"]
    top = join.x + join.width / 2, join.y
    arriving = [arrow for arrow in diagram.arrows if arrow.points[-1] == top]
    assert sorted(len(arrow.points) for arrow in arriving) == [2, 4]
    # conv2_1 to conv2_3, conv3_2 to conv3_4, ...: all blocks without a projection.
    assert "conv2_1 and 12 more like it:" in {label.text for label in diagram.labels}


def test_auxiliary_heads_are_next_to_their_blocks():
    diagram = lay_out("googlenet", rows_of("googlenet"))
    boxes = {box.lines[0]: box for box in diagram.boxes}
    for head, block in {"aux1": "inception_4a", "aux2": "inception_4d"}.items():
        edge = boxes[block].x + boxes[block].width
        arrows = [
            arrow
            for arrow in diagram.arrows
            if arrow.auxiliary and arrow.points[-1][0] == boxes[head].x
            if boxes[head].y < arrow.points[-1][1] < boxes[head].y + boxes[head].height
        ]
        assert [arrow.points[0][0] for arrow in arrows] == [edge]
        assert boxes[head].y == boxes[block].y


def test_inception_modules_have_the_numbers_of_the_lecture():
    modules = {
        "naive": module_costs("naive inception"),
        "bottlenecks": module_costs("inception"),
    }
    texts = check_texts(diagram_figures.inception_modules(modules))
    # CS231n 2017, lecture 9: 854 M; its 358 M counts 86.7 M of the 3x3 twice.
    assert "  854 in all" in texts and "  271 in all" in texts
    assert "concatenate, 672" in texts and "concatenate, 480" in texts


def test_bubbles_have_the_right_place_and_area():
    names = ["alexnet", "googlenet", "vgg16", "vgg16_c", "resnet50", "inception_v4"]
    costs = {name: totals(rows_of(name)) for name in [*names, "nin", "resnet20"]}
    found = error_chart.find_bubbles(costs)
    assert [bubble.network for bubble in found] == names  # not nin and resnet20
    figure = error_chart.error_against_operations(found)
    texts = check_texts(figure)
    assert set(names) <= set(texts)
    drawn = {}
    for path in figure.axes[0].collections:
        assert isinstance(path, PathCollection)
        ((x, y),) = np.asarray(path.get_offsets())
        (drawn[round(float(x), 3), float(y)],) = path.get_sizes()
    # 15.47 and 0.724 billion MACs; torchvision's and Caffe's errors.
    vgg, alexnet = drawn[15.47, 28.408], drawn[0.724, 42.9]
    assert vgg / alexnet == pytest.approx(138_357_544 / 60_965_224)


def test_all_bubbles_are_readable():
    counted = {name: row for name, row in TOTALS.items() if row[4] == 1000}
    costs = {
        name: {"params": params, "macs": macs}
        for name, (params, macs, *_) in counted.items()
    }
    found = error_chart.find_bubbles(costs)
    texts = check_texts(error_chart.error_against_operations(found))
    assert set(counted) - set(texts) == {"alexnet_one_tower", "nin"}  # no known error
    (sources,) = [text for text in texts if text.startswith("Errors of")]
    assert all(bubble.error.source in " ".join(sources.split()) for bubble in found)


def test_png_and_svg_files_are_the_same_each_time(tmp_path):
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        figure = diagram_figures.draw_diagram(lay_out("alexnet", rows_of("alexnet")))
        png, svg = canvas.write_slide(figure, folder, "alexnet-diagram")
        with Image.open(png) as picture:
            assert picture.size[0] > 600
        files.append((png.read_bytes(), svg.read_bytes()))
    assert files[0] == files[1]
    assert files[0][1].lstrip().startswith(b"<?xml")
