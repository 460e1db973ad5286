"""The weights that others publish: fetched when the user asks, and kept."""

import os

from cnn_arch import hints
from cnn_arch.errors import UsageError
from cnn_arch.fetch import Checksum, cache_folder, fetch
from cnn_arch.screen import Screen

ADDRESS = "https://download.pytorch.org/models"
COPY = "CNN_ARCH_WEIGHTS_URL"  # in the environment: the address of a copy of all files

# From WeightsEnum of torchvision/models/*.py, version 0.24: the name of the file. Its
# last part is the start of its SHA-256, as torch.hub checks it. Without an ending, a
# name is IMAGENET1K_V1; .v2 is IMAGENET1K_V2.
FILES = {
    "alexnet": "alexnet-owt-7be5be79",
    "vgg11": "vgg11-8a719046",
    "vgg11_bn": "vgg11_bn-6002323d",
    "vgg13": "vgg13-19584684",
    "vgg13_bn": "vgg13_bn-abd245e5",
    "vgg16": "vgg16-397923af",
    "vgg16_bn": "vgg16_bn-6c64b313",
    "vgg19": "vgg19-dcbb9e9d",
    "vgg19_bn": "vgg19_bn-c79401a0",
    "googlenet": "googlenet-1378be20",
    "inception_v3": "inception_v3_google-0cc3c7bd",
    "resnet18": "resnet18-f37072fd",
    "resnet34": "resnet34-b627a593",
    "resnet50": "resnet50-0676ba61",
    "resnet50.v2": "resnet50-11ad3fa6",
    "resnet101": "resnet101-63fe2227",
    "resnet101.v2": "resnet101-cd907fc2",
    "resnet152": "resnet152-394f9c45",
    "resnet152.v2": "resnet152-f82ba261",
}

_BVLC = "http://dl.caffe.berkeleyvision.org"
_VGG = "http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe"
# The authors offered these on OneDrive; Apache MXNet keeps a copy.
_RESNET = (
    "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/caffe/models/resnet"
)
# Caffe's files: the address, and the SHA-1.
CAFFE = {
    # BVLC/caffe, models/bvlc_*/readme.md.
    "alexnet": (
        f"{_BVLC}/bvlc_alexnet.caffemodel",
        "9116a64c0fbe4459d18f4bb6b56d647b63920377",
    ),
    "googlenet": (
        f"{_BVLC}/bvlc_googlenet.caffemodel",
        "405fc5acd08a3bb12de8ee5e23a96bec22f08204",
    ),
    # The addresses: the authors' gists 211839e770f7b538e2d8 and 3785162f95cd2d5fee77.
    # The SHA-1, and both of the residual networks: apache/mxnet,
    # tools/caffe_converter/convert_caffe_modelzoo.py.
    "vgg16": (
        f"{_VGG}/VGG_ILSVRC_16_layers.caffemodel",
        "9363e1f6d65f7dba68c4f27a1e62105cdf6c4e24",
    ),
    "vgg19": (
        f"{_VGG}/VGG_ILSVRC_19_layers.caffemodel",
        "239785e7862442717d831f682bb824055e51e9ba",
    ),
    "resnet50": (
        f"{_RESNET}/ResNet-50-model.caffemodel",
        "b7c79ccc21ad0479cddc0dd78b1d20c4d722908d",
    ),
    "resnet101": (
        f"{_RESNET}/ResNet-101-model.caffemodel",
        "1dbf5f493926bb9b6b3363b12d5133c0f8b78904",
    ),
    "resnet152": (
        f"{_RESNET}/ResNet-152-model.caffemodel",
        "251edb93604ac8268c7fd2227a0f15144310e1aa",
    ),
    # The author's gist d802a5849de39225bcc6.
    "nin": (
        "https://www.dropbox.com/s/0cidxafrb2wuwxw/nin_imagenet.caffemodel?dl=1",
        "8e89c8fcd46e02780e16c867a5308e7bb7af0803",
    ),
}
PUBLISHED = {"torchvision": FILES, "caffe": CAFFE}  # by what is before the colon


def is_published(given: str) -> bool:
    """Whether this is the name of published weights: ``torchvision:resnet18``.

    Raises:
      UsageError: it looks like one, but there are no such weights.
    """
    source, colon, name = given.partition(":")
    if not colon or source not in PUBLISHED:
        return False
    if name not in PUBLISHED[source]:
        known = hints.choose(name, PUBLISHED[source])
        raise UsageError(f"{given}: no such weights; {known}")
    return True


def _source(given: str) -> tuple[str, str, str]:
    """Returns the name of a published file, its address, and how its digest begins."""
    source, _, name = given.partition(":")
    if source == "caffe":
        address, digest = CAFFE[name]
        file = address.rpartition("/")[2].partition("?")[0]
    else:
        file, digest = f"{FILES[name]}.pth", FILES[name].rpartition("-")[2]
        address = f"{ADDRESS}/{file}"
    if copy := os.environ.get(COPY):
        address = f"{copy.rstrip('/')}/{file}"
    return file, address, digest


def local_path(given: str, screen: Screen) -> str:
    """Returns the path of a file of weights, which is fetched first if it must be.

    Args:
      given: a path, or the name of published weights: ``torchvision:resnet18`` or
        ``caffe:alexnet``.
      screen: for the progress.

    Raises:
      UsageError: there are no such weights, they cannot be fetched or kept, or they are
        not the published ones.
    """
    if not is_published(given):
        return given
    file, address, wanted = _source(given)
    path = cache_folder("weights") / file
    kind = "SHA-1" if len(wanted) == 40 else "SHA-256"
    fetch(address, path, Checksum(kind, wanted), screen)
    return str(path)
