"""The networks whose authors published weights for Caffe, and their layers' names."""

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from cnn_arch.errors import UsageError

Name = tuple[str, ...]  # of a layer here: ("inception_3a", "3x3")


@dataclasses.dataclass(frozen=True)
class Norm:
    """A local response normalisation, and the layers around it."""

    reads: str  # the blob in Caffe
    before: Name
    after: tuple[Name, ...]


@dataclasses.dataclass(frozen=True)
class CaffeNetwork:
    """A network of Caffe, and what its layers are here."""

    rename: Callable[[str], Name | None]  # from Caffe's name of a layer
    mean: tuple[float, float, float]  # of the pixels, RGB
    first: str = "conv1"  # the layer that reads the image
    strides: Mapping[str, int] = dataclasses.field(default_factory=dict)  # others: 1
    # Others: half of the kernel, so that a stride of 1 keeps the size of the map.
    paddings: Mapping[str, int] = dataclasses.field(default_factory=dict)
    # Dense layer that follows a map -> the layer of Caffe that gives the map's number
    # of channels. Caffe flattens a map channel by channel.
    behind_map: Mapping[str, str] = dataclasses.field(default_factory=dict)
    norms: Mapping[str, Norm] = dataclasses.field(default_factory=dict)
    # Fields of the module here that have another value than in the recipe.
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _by_pattern(pattern: str, name: str) -> Name | None:
    return (name,) if re.fullmatch(pattern, name) else None


INCEPTION = re.compile(
    r"(inception_\d[a-e])/(1x1|3x3_reduce|3x3|5x5_reduce|5x5|pool_proj)"
)
GOOGLENET_LAYERS: dict[str, Name] = {
    "conv1/7x7_s2": ("conv1",),
    "conv2/3x3_reduce": ("conv2_reduce",),
    "conv2/3x3": ("conv2",),
    "loss3/classifier": ("fc",),
}
for _number in (1, 2):
    _head = f"aux{_number}"
    GOOGLENET_LAYERS[f"loss{_number}/conv"] = (_head, "conv")
    GOOGLENET_LAYERS[f"loss{_number}/fc"] = (_head, "fc1")
    GOOGLENET_LAYERS[f"loss{_number}/classifier"] = (_head, "fc2")


def _googlenet(name: str) -> Name | None:
    found = INCEPTION.fullmatch(name)
    return (found[1], found[2]) if found else GOOGLENET_LAYERS.get(name)


# The gist d802a5849de39225bcc6: three convolutions in each mlpconv.
_NIN = (
    "conv1 cccp1 cccp2 conv2 cccp3 cccp4 conv3 cccp5 cccp6 "
    "conv4-1024 cccp7-1024 cccp8-1024"
).split()
NIN_LAYERS: dict[str, Name] = {
    name: (f"mlpconv{place // 3 + 1}", ("conv", "mlp1", "mlp2")[place % 3])
    for place, name in enumerate(_NIN)
}

RESIDUAL = re.compile(r"(res|bn|scale)([2-5])([a-z])(\d*)_branch(1|2[abc])")
RESNET_LAYERS: dict[str, Name] = {
    "conv1": ("conv1",),
    "bn_conv1": ("bn1",),
    "scale_conv1": ("bn1",),
    "fc1000": ("fc",),
}


def _resnet(name: str) -> Name | None:
    """Renames res3a_branch2b, and res3b2_branch2b, the third block of ResNet-101."""
    if not (found := RESIDUAL.fullmatch(name)):
        return RESNET_LAYERS.get(name)
    kind, stage, letter, number, branch = found.groups()
    block = int(number) + 1 if number else ord(letter) - ord("a") + 1
    if branch == "1":
        layer = "shortcut" if kind == "res" else "shortcut_bn"
    else:
        layer = f"{'conv' if kind == 'res' else 'bn'}{'abc'.index(branch[1]) + 1}"
    return f"conv{stage}_{block}", layer


# The means of the channels of Caffe's imagenet_mean.binaryproto, as its notebook
# examples/00-classification.ipynb computes them.
IMAGENET_MEAN = (122.67891434, 116.66876762, 104.00698793)
_VGG = CaffeNetwork(
    partial(_by_pattern, r"conv[1-5]_[1-4]|fc[678]"),
    mean=(123.68, 116.779, 103.939),  # the authors' gists
    first="conv1_1",
    behind_map={"fc6": "conv5_3"},
)
_RESNET = CaffeNetwork(
    _resnet,
    # Of the authors' ResNet_mean.binaryproto; chainercv/links/model/resnet/resnet.py.
    mean=(123.15163084, 115.90288257, 103.0626238),
    strides={"conv1": 2}
    | {f"res{stage}a_branch{x}": 2 for stage in (3, 4, 5) for x in ("1", "2a")},
    fields={"ceil_mode": True},
)
CAFFE: dict[str, CaffeNetwork] = {
    "alexnet": CaffeNetwork(
        partial(_by_pattern, r"conv[1-5]|fc[678]"),
        mean=IMAGENET_MEAN,
        strides={"conv1": 4},
        paddings={"conv1": 0},
        behind_map={"fc6": "conv5"},
        norms={
            "norm1": Norm("conv1", ("conv1",), (("conv2",),)),
            "norm2": Norm("conv2", ("conv2",), (("conv3",),)),
        },
        fields={"norm_across_groups": True},
    ),
    "googlenet": CaffeNetwork(
        _googlenet,
        mean=(123.0, 117.0, 104.0),  # train_val.prototxt
        first="conv1/7x7_s2",
        strides={"conv1/7x7_s2": 2},
        behind_map={"loss1/fc": "loss1/conv", "loss2/fc": "loss2/conv"},
        norms={
            "pool1/norm1": Norm("pool1/3x3_s2", ("conv1",), (("conv2_reduce",),)),
            "conv2/norm2": Norm(
                "conv2/3x3",
                ("conv2",),
                tuple(
                    ("inception_3a", x)
                    for x in ("1x1", "3x3_reduce", "5x5_reduce", "pool_proj")
                ),
            ),
        },
    ),
    "vgg16": _VGG,
    "vgg19": dataclasses.replace(_VGG, behind_map={"fc6": "conv5_4"}),
    "resnet50": _RESNET,
    "resnet101": _RESNET,
    "resnet152": _RESNET,
    "nin": CaffeNetwork(
        NIN_LAYERS.get,
        mean=IMAGENET_MEAN,  # the author's own mean image is not published
        strides={"conv1": 4},
        paddings={"conv1": 0},
    ),
}


def find(name: str) -> CaffeNetwork:
    """Returns the network of Caffe that is ``name`` here.

    Raises:
      UsageError: there is none.
    """
    if name not in CAFFE:
        raise UsageError(
            f"{name}: Caffe's files are read for {', '.join(CAFFE)}; choose the "
            "config of one of these"
        )
    return CAFFE[name]


def networks_with(layers: Collection[str]) -> str:
    """Returns a fix for a file with these layers of Caffe."""
    having = [name for name in CAFFE if all(map(CAFFE[name].rename, layers))]
    if not having:
        return f"no network here has them; files are read of {', '.join(CAFFE)}"
    configs = " or ".join(f"--config=configs/{name}.py" for name in having)
    return f"write {configs}, which has them"
