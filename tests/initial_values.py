"""How every layer of every network starts, by its paper or its authors' file."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Start(NamedTuple):
    """The distribution of a layer's initial weights, of mean zero, and its biases."""

    kind: str  # normal, uniform, or truncated: normal, within two deviations
    deviation: Callable[[float, float], Any]  # of fan-in and fan-out, after truncation
    bias: float = 0.0  # of all units; of BatchNorm, too


# A normal distribution keeps 0.8796 of its deviation when truncated at two deviations.
KEPT = 0.87962566


def normal(deviation: float, bias: float = 0.0) -> Start:
    return Start("normal", lambda fan_in, fan_out: deviation, bias)


def truncated(deviation: float) -> Start:
    return Start("truncated", lambda fan_in, fan_out: KEPT * deviation)


# He et al. 2015, "Delving Deep into Rectifiers", Equation 10: variance 2 / fan-in.
HE = Start("normal", lambda fan_in, fan_out: np.sqrt(2 / fan_in))
# Glorot and Bengio 2010, Equation 16.
GLOROT = Start("uniform", lambda fan_in, fan_out: np.sqrt(2 / (fan_in + fan_out)))
# Caffe's "xavier": variance 1 / fan-in.
XAVIER = Start("uniform", lambda fan_in, fan_out: np.sqrt(1 / fan_in))
# slim.variance_scaling_initializer(): sqrt(1.3 x 2 / fan-in), truncated.
SLIM = Start("truncated", lambda fan_in, fan_out: KEPT * np.sqrt(1.3 * 2 / fan_in))
# LeCun et al. 1998, Appendix A: uniform in +-2.4 / fan-in.
LECUN = Start("uniform", lambda fan_in, fan_out: 2.4 / fan_in / np.sqrt(3))
# Section II.B, Table I: 5x5 weights for each map that a map of C3 reads: six maps read
# 3, nine read 4, one reads 6. A unit of S2 and S4 has four inputs.
C3_READS = np.repeat([3, 4, 6], [6 * 3, 9 * 4, 6])
LECUN_C3 = Start("uniform", lambda fan_in, fan_out: 2.4 / (25 * C3_READS) / np.sqrt(3))
LECUN_S = Start("uniform", lambda fan_in, fan_out: 2.4 / 4 / np.sqrt(3))

# Krizhevsky et al. 2012, Section 5.
ALEXNET = {"conv[245]|fc[67]": normal(0.01, bias=1.0), ".*": normal(0.01)}
# Weights of N(0, 0.01^2) too: BVLC's models/bvlc_alexnet/readme.md.
CAFFE_ALEXNET = {"conv[245]|fc[67]": normal(0.01, bias=0.1), ".*": normal(0.01)}
# BVLC's models/bvlc_googlenet/train_val.prototxt.
GOOGLENET = {"fc|aux./fc2": XAVIER, ".*": XAVIER._replace(bias=0.2)}

# Network, or the beginning of its name -> pattern of a layer's path -> its start. The
# first match of each counts.
STARTS: dict[str, dict[str, Start]] = {
    "lenet5": {"C3": LECUN_C3, "S.": LECUN_S, ".*": LECUN},
    "lenet": {".*": GLOROT},  # d2l, Section 7.6: Xavier initialisation
    # cuda-convnet2's layers-imagenet-1gpu.cfg: initW, initB.
    "alexnet_owt": {
        "conv2|fc[67]": normal(0.01, bias=1.0),
        "conv3": normal(0.03),
        "conv[45]": normal(0.03, bias=1.0),
        "fc8": normal(0.01, bias=-7.0),
        ".*": normal(0.01),
    },
    "alexnet": ALEXNET,
    # cuda-convnet's layers-conv-local-11pct.cfg: initW.
    "cuda_convnet": {
        "conv1": normal(0.0001),
        "local[34]": normal(0.04),
        ".*": normal(0.01),
    },
    "zfnet": {".*": normal(0.01)},  # Zeiler and Fergus 2013, Section 3.1
    "vgg11": {".*": normal(0.01)},  # of deviation, not variance: vgg.py says why
    "vgg": {".*": GLOROT},  # Simonyan and Zisserman 2014, Section 3.1
    # cuda-convnet/NIN/cifar-10_def of the first author: initW=0.05 in every layer.
    "nin_cifar": {".*": normal(0.05)},
    # Its gist d802a5849de39225bcc6, train_val.prototxt: conv1, conv3, cccp8; four
    # copies of it agree.
    "nin": {"mlpconv[13]/conv|mlpconv4/mlp2": normal(0.01), ".*": normal(0.05)},
    # torchvision's googlenet.py: truncated at +-2, 200 deviations.
    "googlenet_bn": {".*": normal(0.01)},
    "googlenet": GOOGLENET,
    # tensorflow/models: inception/inception/slim, inception_model.py and ops.py.
    "inception_v3": {
        "aux/conv1/.*|fc": truncated(0.01),
        "aux/fc": truncated(0.001),
        ".*": truncated(0.1),
    },
    # tensorflow/models: slim/nets/inception_utils.py; slim.fully_connected.
    "inception_v4": {"fc|aux/fc": GLOROT, ".*": SLIM},
    "resnet": {".*": HE},  # He et al. 2015, "Deep Residual Learning", Section 3.4
    "plain": {".*": HE},
}
