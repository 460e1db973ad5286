"""Predictions for links and steps whose times can be computed by hand."""

import dataclasses
from typing import Any

import pytest
from flax import linen as nn

from cnn_arch import choices, settings
from cnn_arch.analysis.roofline import DEVICES, Device
from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.modules import Stack
from cnn_arch.drawing.canvas import write_slide
from cnn_arch.errors import UsageError
from cnn_arch.scaling import chart, message_time, prediction
from cnn_arch.scaling.collectives import Collective
from cnn_arch.scaling.message_time import parse_devices, parse_link, seconds

TOY = Device("toy", {"float32": 1000.0, "bfloat16": 2000.0}, 100.0, "this test")
LINK = message_time.Link("toy", 100.0, 0.0, "this test")
FAST = parse_link("400Gbit", 5.0)


def setting(batch):
    return prediction.Setting(batch, TOY, LINK)


@pytest.mark.parametrize(
    ("text", "bytes_a_second"),
    [
        ("400Gbit", 50e9),
        ("400Gb/s", 50e9),
        ("100Gbps", 12.5e9),
        ("2.5Gbit/s", 312.5e6),
        ("50GB/s", 50e9),
        ("50GB", 50e9),
        ("125MB/s", 125e6),
        ("nvlink4", 450e9),
        ("pcie2", 16 * 5e9 * 8 / 10 / 8),
        ("pcie3", pytest.approx(16 * 8e9 * 128 / 130 / 8, rel=1e-3)),
    ],
)
def test_links(text, bytes_a_second):
    link = parse_link(text, 5.0)
    assert link.bandwidth == bytes_a_second and link.latency_seconds == 5e-6


@pytest.mark.parametrize("text", ["fast", "400", "0GB/s", "-1GB/s", "GB", "nvlink9"])
def test_wrong_links(text):
    with pytest.raises(UsageError, match=f"--link={text}: must be a rate"):
        parse_link(text, 5.0)
    with pytest.raises(UsageError, match="--latency=-1: must be 0 to 1,000,000"):
        parse_link("nvlink4", -1.0)


def test_numbers_of_devices():
    assert parse_devices("1,2,64") == [1, 2, 64]
    for text in ("", "0", "2,1", "2,2", "1;2", "1,-2", "1.5", "9" * 30, "²"):
        with pytest.raises(UsageError, match=f"--scale={text}: must be rising"):
            parse_devices(text)


def test_a_ring_by_hand():
    """Eight parts of 100 bytes travel around in seven steps; a sum does so twice."""
    assert seconds("all-gather", 800, 8, LINK) == pytest.approx(7 * 100 / 100)
    assert seconds("reduce-scatter", 800, 8, LINK) == pytest.approx(7)
    assert seconds("all-reduce", 800, 8, LINK) == pytest.approx(14)
    assert message_time.sent_bytes("all-reduce", 800, 8) == 1400
    assert seconds("collective-permute", 800, 8, LINK) == pytest.approx(8)
    assert seconds("all-reduce", 800, 1, LINK) == 0
    slow = dataclasses.replace(LINK, latency_seconds=1.0)
    assert seconds("all-gather", 800, 8, slow) == pytest.approx(7 + 7)
    assert seconds("all-reduce", 8000, 8, slow) == pytest.approx(14 + 140)
    # One number is sent faster in 3 whole messages than in 14 parts.
    assert seconds("all-reduce", 4, 8, slow) == pytest.approx(3 * (1 + 0.04))


def layers(split, parts, *messages):
    """Returns two dense layers at 2x2 positions, 3 to 10 to 5 features."""
    stack = Stack([nn.Dense(10, use_bias=False), nn.Dense(5, use_bias=False)])
    rows = layer_costs(stack, 2, 3)
    return prediction.Network(rows, split, parts, messages, "float32")


def test_a_step_by_hand():
    """The layers wait for memory: 4 bytes for each input, weight and output."""
    axes = ("data",)
    gradients = Collective("all-reduce", axes, "gradients", "backward", 4 * 80, "us")
    norm = Collective("all-reduce", axes, "bn", "forward", 40, "us")
    network = layers((), 1, gradients, norm)
    # At each of 4 positions 3 numbers become 10, and 10 become 5.
    images = 6
    first = 4 * (images * 4 * (3 + 10) + 3 * 10) / 100
    second = 4 * (images * 4 * (10 + 5) + 10 * 5) / 100
    forward, backward = first + second, first + 2 * second
    update = 5 * 4 * 80 / 100
    made = prediction.predict("weak", network, 4, setting(images))
    assert made and made.images == 24
    assert made.compute_seconds == pytest.approx(forward + backward + update)
    ring, small = 2 * 3 / 4 * 320 / 100, 2 * 3 / 4 * 40 / 100
    assert made.message_seconds == pytest.approx(ring + small)
    assert made.seconds == pytest.approx(made.compute_seconds + ring + small)
    assert ring < backward  # so it overlaps completely
    assert made.overlapped_seconds == pytest.approx(made.compute_seconds + small)
    assert made.efficiency == pytest.approx(made.compute_seconds / made.seconds)
    assert made.images_per_second == pytest.approx(24 / made.seconds)
    assert made.sent_bytes == pytest.approx(2 * 3 / 4 * 360)
    # All share the same images: each device has fewer images and as many weights.
    strong = prediction.predict("strong", network, 2, setting(images))
    assert strong and strong.images == 6
    weights = 3 * (3 * 10 + 10 * 5) * 4 / 100 - 4 * 30 / 100
    expected = (forward + backward - weights) / 2 + weights + update
    assert strong.compute_seconds == pytest.approx(expected)
    assert prediction.predict("strong", network, 4, setting(images)) is None


def test_each_part_of_a_network_stores_and_updates_its_share():
    axes, size = ("model",), 4 * 4 * 10
    gather = Collective("all-gather", axes, "layers_1", "forward", size, "us")
    network = layers(("layers_0", "layers_1"), 2, gather)
    assert [row.name for row in network.rows[1:]] == ["layers_0", "layers_1"]
    made = prediction.predict("weak", network, 1, setting(3))
    assert made
    # Six images, half of the features. The second layer reads all gathered features.
    first = 4 * (3 * 4 * (3 + 10) + 15) / 100
    second = 4 * (3 * 4 * (2 * 10 + 5) + 25) / 100
    update = 5 * 4 * 40 / 100
    assert made.compute_seconds == pytest.approx(2 * first + 3 * second + update)
    assert made.message_seconds == pytest.approx(3 * 160 / 2 / 100)


@pytest.fixture(scope="module")
def owt():
    config, _ = settings.parse(["--config=configs/alexnet_owt.py"])
    found = prediction.networks(config, 64)
    cluster = prediction.Setting(256, DEVICES["h100"], FAST)
    return config, found, prediction.predict_all(found, [1, 8, 64], cluster), cluster


def test_one_weird_trick(owt):
    """Dense layers have most parameters, convolutions most work: split the former."""
    _, found, made, _ = owt
    assert [network.parts for network in found] == [1, 2, 4, 8]  # 1,000 classes
    parallel, split = (
        each for each in made if (each.mode, each.devices) == ("weak", 64)
    )
    assert (parallel.model, split.model > 1) == (1, True)
    assert split.seconds < parallel.seconds
    sent = prediction.sent_by_part(found, parallel)
    ring = 2 * 63 / 64 * 4
    dense = 9216 * 4096 + 4096 * 4096 + 4096 * 1000 + 4096 + 4096 + 1000
    assert sent["gradients of dense layers"] == pytest.approx(ring * dense)
    convolutions = 61_100_840 - dense
    assert sent["gradients of convolutions"] == pytest.approx(ring * convolutions)
    assert sent["activations"] == 0
    less = prediction.sent_by_part(found, split)
    parts, groups = split.model, split.data
    ring = 2 * (groups - 1) / groups * 4
    assert less["gradients of dense layers"] == pytest.approx(ring * dense / parts)
    # Forward, the inputs of three layers and the logits; backward, the same bytes.
    gathered = 4 * 256 * parts * (9216 + 4096 + 4096 + 1000)
    sent_once = gathered * (parts - 1) / parts
    assert less["activations"] == pytest.approx(2 * sent_once)
    assert sum(less.values()) == pytest.approx(split.sent_bytes)


def test_the_figure_shows_the_predictions(owt, tmp_path):
    config, found, made, cluster = owt
    figure = chart.draw(config, found, made, cluster)
    weak, strong, sent = figure.axes
    lines: Any = {line.get_label(): line for line in weak.lines}
    assert list(lines["split"].get_xdata()) == [8, 64]
    assert list(lines["data parallel"].get_ydata()) == [
        each.efficiency for each in made if each.mode == "weak" and each.model == 1
    ]
    assert len(strong.lines) == 4
    bars: Any = sent.patches
    tops = [bar.get_y() + bar.get_height() for bar in bars]
    most = [each for each in made if each.mode == "weak" and each.devices == 64]
    assert max(tops) == pytest.approx(max(each.sent_bytes for each in most) / 1e6)
    written = write_slide(figure, tmp_path, "scaling")
    assert [path.name for path in written] == ["scaling.png", "scaling.svg"]


def test_vgg16_sends_half_a_gigabyte_twice():
    """138,357,544 parameters (torchvision's too), around the ring of 256 twice."""
    config, _ = settings.parse(["--config=configs/vgg16.py"])
    config = settings.derive(config, choices.placeholders(config))
    whole = prediction.networks(config, 1)
    cluster = prediction.Setting(1, DEVICES["h100"], FAST)
    weak = prediction.predict_all(whole, [256], cluster)[0]
    gradient = 2 * 255 / 256 * 4 * 138_357_544
    assert weak.sent_bytes == pytest.approx(gradient, rel=1e-6)
    # 1,103 MB at 50 GB/s, and 510 messages of 5 us.
    assert weak.message_seconds == pytest.approx(gradient / 50e9 + 510 * 5e-6, rel=0.01)
