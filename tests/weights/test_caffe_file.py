"""Files of Caffe: what is read, and what is refused with one line."""

from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from cnn_arch.errors import UsageError
from cnn_arch.weights.files import read_fitting, read_weights
from tests.weights import caffe_files
from tests.weights.caffe_files import Net, blob, caffemodel, encode
from tests.weights.caffe_nets import SMALL, small


def test_both_forms_and_both_types_of_numbers_give_the_same(
    caffe, tmp_path, monkeypatch
):
    net = small()
    read = []
    for old in (False, True):
        path = tmp_path / f"{old}.caffemodel"
        path.write_bytes(caffemodel(net.layers, old=old))
        read.append(read_weights(str(path), "small").variables)
    monkeypatch.setattr(
        caffe_files,
        "blob",
        lambda array, **form: blob(array.astype(np.float64), **form),
    )
    path = tmp_path / "double.caffemodel"
    path.write_bytes(caffemodel(net.layers))
    assert path.stat().st_size > 1.5 * (tmp_path / "False.caffemodel").stat().st_size
    read.append(read_weights(str(path), "small").variables)
    for other in read[1:]:
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), other, read[0])


def with_data_layer(net: Net, **settings: Any) -> list[caffe_files.Layer]:
    return [caffe_files.Layer("data", "Data", (), "data", settings), *net.layers]


@pytest.mark.parametrize("old", [False, True])
def test_the_mean_is_the_files_own_else_the_authors(old, caffe, tmp_path):
    net, path = small(), tmp_path / "net.caffemodel"

    def read(content: bytes) -> tuple[Any, Any]:
        path.write_bytes(content)
        weights = read_weights(str(path), "small")
        return weights.mean, weights.std

    assert read(caffemodel(net.layers, old=old)) == (SMALL.mean, (1.0,) * 3)
    own = with_data_layer(net, scale=0.25, mean_value=[1.0, 2.0, 3.0])
    assert read(caffemodel(own, old=old)) == ((3.0, 2.0, 1.0), (4.0,) * 3)
    one = with_data_layer(net, mean_value=[7.0])
    assert read(caffemodel(one, old=old)) == ((7.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize("old", [False, True])
def test_a_mean_image_beside_the_file_comes_first(old, caffe, tmp_path):
    own = with_data_layer(small(), mean_value=[1.0, 2.0, 3.0])
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(own))
    image = np.arange(2 * 3 * 4, dtype=np.float32).reshape(3, 2, 4)
    (tmp_path / "net.binaryproto").write_bytes(blob(image, old=old))
    weights = read_weights(str(tmp_path / "net.caffemodel"), "small")
    assert weights.mean == (19.5, 11.5, 3.5)


def test_gray_images_have_the_mean_of_their_file(caffe, tmp_path):
    net = Net(32, channels=1)
    net.conv("conv1", 8, 3, stride=2)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(caffemodel(net.layers))
    weights, _ = read_fitting(str(path), ["small"])
    assert weights.mean is None
    assert weights.variables["params"]["conv1"]["kernel"].shape == (3, 3, 1, 8)
    path.write_bytes(caffemodel(with_data_layer(net, mean_value=[5.0])))
    assert read_fitting(str(path), ["small"])[0].mean == (5.0,)


def test_layers_that_the_network_does_not_have_are_named(caffe, tmp_path):
    net = small()
    net.dense("fc6", 3)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(caffemodel(net.layers))
    with pytest.raises(
        UsageError, match=r"net\.caffemodel: small has no .*: fc6; write .*/alexnet"
    ):
        read_weights(str(path), "small")
    weights, others = read_fitting(str(path), ["other", "small"])
    assert others == ["fc6"] and "fc5" in weights.variables["params"]


def caffenet(net: Net) -> list[caffe_files.Layer]:
    """Returns the first layers of BVLC's CaffeNet, which pools before it normalises."""
    net.conv("conv1", 96, 11, stride=4)
    net.pool("pool1", 3, 2)
    net.lrn("norm1")
    net.conv("conv2", 256, 5, pad=2, group=2)
    return net.layers


def other_stride(net: Net) -> list[caffe_files.Layer]:
    net.conv("conv1", 64, 7, stride=2, pad=3)
    net.conv("res3a_branch2a", 8, 1)
    return net.layers


def _shape(*sizes: int) -> bytes:
    """Returns a layer conv1 whose array claims a shape and has one number."""
    shape = b"".join(map(caffe_files.varint, sizes))
    array = encode(7, encode(1, shape)) + encode(5, bytes(4))
    return encode(100, encode(1, "conv1") + encode(7, array))


def _lrn(**settings: float) -> bytes:
    net = Net(67)
    net.conv("conv1", 8, 11, stride=4)
    net.lrn("norm1", **settings)
    return caffemodel(net.layers)


def _norm(*sizes: int) -> bytes:
    """Returns BatchNorm with arrays of these sizes, behind a convolution."""
    net = Net(67)
    net.conv("conv1", 64, 7, stride=2, pad=3)
    blobs = b"".join(encode(7, blob(np.ones(size, "f4"))) for size in sizes)
    return caffemodel(net.layers) + encode(100, encode(1, "bn_conv1") + blobs)


REFUSED = {
    "many factors": ("resnet50", lambda: _norm(64, 64, 5), "bn_conv1 has 5 factors"),
    "many arrays": (
        "resnet50",
        lambda: _norm(64, 64, 1, 64),
        "has 4 arrays; must be 3",
    ),
    "pools first": (
        "alexnet",
        lambda: caffemodel(caffenet(Net(67))),
        "norm1 reads pool1; must read conv1: this is another network",
    ),
    "stride elsewhere": (
        "resnet50",
        lambda: caffemodel(other_stride(Net(67))),
        "res3a_branch2a has the stride 1, padding 0 and dilation 1; in resnet50 they "
        "are 2, 0 and 1",
    ),
    "another power": ("alexnet", lambda: _lrn(beta=0.5), "norm1 has .*beta=0.5"),
    "negative alpha": ("alexnet", lambda: _lrn(alpha=-1.0), "alpha=-1"),
    "another network": (
        "vgg16",
        lambda: _lrn(),
        "vgg16 has no such layers: conv1; write .*/alexnet.py or",
    ),
    "no network of Caffe": ("resnet18", lambda: _lrn(), "choose the config of one of"),
    "nothing": ("alexnet", lambda: b"", "it has 0 layers"),
    "many empty layers": (
        "alexnet",
        lambda: encode(2, b"") * 100_000,
        "it has 100,000 layers; a .caffemodel has 1 to 10,000",
    ),
    "many empty arrays": (
        "alexnet",
        lambda: encode(100, encode(1, "conv1") + encode(7, b"") * 1000),
        "conv1 has 1,000 arrays; at most 100 are possible",
    ),
    "text": ("alexnet", lambda: b"layer { name: 'conv1' }", "not a complete file"),
    "cut": ("alexnet", lambda: _lrn()[:-9], "not a complete file of Caffe"),
    "twice": ("alexnet", lambda: _lrn() * 2, "more than once in the file: conv1"),
    "form before 2014": (
        "alexnet",
        lambda: encode(2, encode(1, encode(1, "conv1"))),
        "upgrade_net_proto_binary",
    ),
    "claims 4 TiB": (
        "alexnet",
        lambda: _shape(2**20, 2**20),
        r"array 1 of conv1 has the shape \(1048576, 1048576\) and 1 numbers",
    ),
    "negative sizes": ("alexnet", lambda: _shape(-1, -1), "the file is damaged"),
    "many axes": ("alexnet", lambda: _shape(*(1,) * 33), "the file is damaged"),
    "one axis": ("alexnet", lambda: _shape(1), r"conv1 has the shape \(1,\); must be"),
    "a name in colour": (
        "alexnet",
        lambda: encode(100, encode(1, "\x1b[31m") + encode(7, blob(np.ones(1, "f4")))),
        r"no such layers: \\x1b",
    ),
    "a name that is no text": (
        "alexnet",
        lambda: encode(100, encode(1, b"\xff") + encode(7, blob(np.ones(1, "f4")))),
        "no such layers: \ufffd",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_line_says_why_a_file_is_refused(case, tmp_path):
    name, make, message = REFUSED[case]
    path = tmp_path / "net.caffemodel"
    path.write_bytes(make())
    with pytest.raises(UsageError, match=f"net.caffemodel: .*{message}") as caught:
        read_weights(str(path), name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("cut", range(0, 1200, 40))
def test_a_file_that_ends_anywhere_is_refused(cut, caffe, tmp_path):
    content = caffemodel(small().layers)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content[: len(content) - cut - 1])
    with pytest.raises(UsageError, match=r"net.caffemodel: not a complete"):
        read_weights(str(path), "small")


def test_numbers_that_are_not_finite_are_named(caffe, tmp_path):
    net, path = small(), tmp_path / "net.caffemodel"
    layer = net.layers[0]
    kernel, bias = layer.arrays()
    bias[3] = np.nan

    class Broken(caffe_files.Layer):
        def arrays(self) -> list[np.ndarray]:
            return [kernel, bias]

    path.write_bytes(caffemodel([Broken(*layer), *net.layers[1:]]))
    with pytest.raises(UsageError, match="params/conv1/bias has values that are not"):
        read_weights(str(path), "small")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x0a", "not a complete file of Caffe"),
        (blob(np.ones((2, 4, 4), "f4")), r"its shape is \(2, 4, 4\)"),
        (blob(np.ones((1, 4, 4), "f4")), "has 1 channels, not 3"),
        (blob(np.full((3, 4, 4), np.inf, "f4")), "not finite"),
    ],
)
def test_a_damaged_mean_image_is_named(content, message, caffe, tmp_path):
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(small().layers))
    (tmp_path / "net.binaryproto").write_bytes(content)
    with pytest.raises(UsageError, match=f"net.binaryproto beside it.*{message}"):
        read_weights(str(tmp_path / "net.caffemodel"), "small")


def test_a_bias_that_does_not_fit_batch_norm_stays(tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(_norm(32, 32, 1))
    weights, _ = read_fitting(str(path), ["resnet50"])
    assert weights.variables["params"]["conv1"]["bias"].shape == (64,)
