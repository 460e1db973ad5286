"""The claims of lectures about NiN, GoogLeNet, ResNet, and all networks together."""

from functools import partial

from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.costs.modules import module_costs
from cnn_arch.costs.summary import depth
from cnn_arch.lectures import counts
from cnn_arch.lectures.claim import (
    CS231N,
    CS231N_NOTES,
    D2L,
    EECS498,
    FIELDS,
    NOTES,
    Claim,
)
from cnn_arch.lectures.counts import network, total, weights

# The last layer of each stage: conv2_x to conv5_x.
RESNET34_STAGES = "conv2_3/add", "conv3_4/add", "conv4_6/add", "conv5_3/add"


def _macs(part: str) -> int:
    return total(module_costs(part), "macs")


def _recipe() -> ConfigDict:
    return settings.parse(["--config=resnet34"])[0]


LATE = (
    Claim(
        "nin",
        "1x1 with 64 filters on 32x32x256 gives 32x32x64: a dense layer at each pixel",
        NOTES,
        ("32x32x64", 256 * 64, 1),
        lambda: (
            "x".join(map(str, module_costs("1x1")[-1].output_shape)),
            weights(module_costs("1x1")),
            module_costs("1x1")[-1].receptive_field,
        ),
        units=("", "weights", "px"),
    ),
    Claim(
        "nin",
        "a 1x1 from 256 to 64 maps cuts later cost (here: of a 3x3)",
        NOTES,
        ("yes",),
        lambda: counts.yes(
            _macs("1x1") + _macs("3x3 on 64 maps") < _macs("3x3 on 256 maps")
        ),
    ),
    Claim(
        "nin",
        "no dense layers, global average pooling: far fewer parameters than AlexNet",
        D2L,
        (0, 1, "yes"),
        lambda: (
            *counts.kinds("nin", "dense", "global_avg_pool"),
            *counts.yes(counts.fewer_params("nin", "alexnet") > 5),
        ),
        units=("dense layers", "global average pool", ""),
    ),
    Claim(
        "googlenet",
        "22 layers with weights, no dense layers (here: none but the last)",
        CS231N,
        (22, 1),
        lambda: (depth(network("googlenet")), *counts.kinds("googlenet", "dense")),
        units=("layers", "dense layer"),
    ),
    Claim(
        "googlenet",
        "5 M parameters, 12 times fewer than AlexNet",
        CS231N,
        (5, 12),
        lambda: (
            total(network("googlenet"), "params") / 1e6,
            counts.fewer_params("googlenet", "alexnet"),
        ),
        units=("M parameters", "times"),
        precision=(1, 1),
        reason="the paper's text says 12 times; the network of its Table 1 is larger",
    ),
    Claim(
        "googlenet",
        "naive inception on 28x28x256: depth 672, 854 M operations",
        CS231N,
        (672, 854),
        lambda: counts.depth_and_macs("naive inception"),
        units=("maps", "M MACs"),
        precision=(1, 1),
    ),
    Claim(
        "googlenet",
        "with 1x1 bottlenecks of 64: depth 480, 358 M operations",
        CS231N,
        (480, 358),
        lambda: counts.depth_and_macs("inception"),
        units=("maps", "M MACs"),
        precision=(1, 1),
        reason="one term is added twice: the 3x3 convolution's",
        slip=lambda: counts.depth_and_macs("inception", twice="layers_0/3x3"),
    ),
    Claim(
        "googlenet",
        "bottlenecks leave about a third of the operations",
        NOTES,
        (0.33,),
        lambda: (_macs("inception") / _macs("naive inception"),),
        units=("of the MACs",),
        precision=(0.05,),
    ),
    Claim(
        "googlenet",
        "224 to 28 px: 7.5 MB, 124 K weights, 418 M multiply-adds",
        EECS498,
        (7.5, 124, 418),
        lambda: counts.stem(network("googlenet"), "pool2", 1e3, "conv", "max_pool"),
        units=("MiB", "K weights", "M MACs"),
        precision=(0.1, 1, 1),
        reason="memory and weights hold; the three convolutions' multiply-adds add up "
        "to the number counted here",
    ),
    Claim(
        "googlenet",
        "average pooling instead of dense layers at the top saves parameters",
        CS231N_NOTES,
        ("yes",),
        lambda: counts.yes(counts.mean_saves() > 1),
    ),
    Claim(
        "googlenet",
        "two auxiliary classifiers, which are not there at test time",
        NOTES,
        (2, 0),
        counts.auxiliary_heads,
        units=("heads", "layers after them"),
    ),
    Claim(
        "resnet",
        "a block is the identity once its weights are zero",
        D2L,
        ("yes",),
        counts.zero_block_is_identity,
    ),
    Claim(
        "resnet50",
        "a bottleneck on 28x28x256 is cheaper than two 3x3",
        NOTES,
        ("28x28x256", "yes"),
        lambda: (
            "x".join(map(str, module_costs("bottleneck")[-1].output_shape)),
            *counts.yes(_macs("bottleneck") < _macs("two 3x3 of 256")),
        ),
    ),
    Claim(
        "resnet34",
        "filters double as stride 2 halves the map (here: from 56x56x64); one dense "
        "layer, after the mean",
        CS231N,
        ("56x56x64", "28x28x128", "14x14x256", "7x7x512", 1, 1),
        lambda: (
            *counts.shapes("resnet34", *RESNET34_STAGES),
            *counts.kinds("resnet34", "dense", "global_avg_pool"),
        ),
        units=("", "", "", "", "dense layer", "global average pool"),
    ),
    Claim(
        "resnet152",
        "152 layers with weights",
        CS231N,
        (152,),
        lambda: (depth(network("resnet152")),),
        units=("layers",),
    ),
    Claim(
        "resnet",
        "weight decay 1e-5",
        CS231N,
        (1e-5,),
        lambda: (_recipe().optim.weight_decay,),
        units=("weight decay",),
        reason="Section 3.4 of the paper, whose recipe is counted here, has 0.0001",
    ),
    Claim(
        "resnet",
        "SGD with momentum 0.9, a rate of 0.1, batches of 256",
        CS231N,
        (0.9, 0.1, 256),
        lambda: (
            _recipe().optim.momentum,
            _recipe().optim.learning_rate,
            _recipe().batch_size,
        ),
        units=("momentum", "learning rate", "images"),
    ),
    Claim(
        "all",
        "ResNet lies between (here: ResNet-50's operations, GoogLeNet's and VGG-16's)",
        CS231N,
        ("yes",),
        lambda: counts.yes(
            counts.ratio("macs", "resnet50", "googlenet")
            > 1
            > counts.ratio("macs", "resnet50", "vgg16")
        ),
    ),
    Claim(
        "all",
        "VGG has the most operations",
        CS231N,
        ("vgg19",),
        lambda: counts.most("macs"),
    ),
    Claim(
        "all",
        "VGG has the most memory",
        CS231N,
        ("vgg19",),
        lambda: counts.most("output_elements", *counts.CS231N_MEMORY),
        reason="of activations a deeper net has more; of parameters VGG has most",
        slip=lambda: counts.most("params"),
    ),
    Claim(
        "all",
        "AlexNet computes little and weighs much (here: fewest operations, more "
        "parameters than Inception-v4)",
        CS231N,
        ("alexnet", "yes"),
        lambda: (
            *counts.fewest("macs"),
            *counts.yes(counts.fewer_params("inception_v4", "alexnet") > 1),
        ),
    ),
    Claim(
        "all",
        "GoogLeNet is the most efficient (here: it has the fewest parameters)",
        CS231N,
        ("googlenet",),
        lambda: counts.fewest("params"),
    ),
    Claim(
        "all",
        "designs are to be compared at equal FLOPs (here: ResNet-50 and ResNet-34)",
        NOTES,
        ("yes",),
        lambda: counts.yes(counts.ratio("macs", "resnet50", "resnet34") < 1.1),
    ),
    *(
        Claim(
            name,
            f"receptive field of {layer}: {size} px",
            FIELDS,
            (size,),
            partial(counts.field, name, layer),
            units=("px",),
        )
        for name, layer, size in (
            ("alexnet", "pool5", 195),
            ("vgg11", "pool5", 150),
            ("vgg16", "pool5", 212),
            ("inception_v3", "Mixed_7c", 1311),
            ("inception_v4", "Mixed_7d", 2071),
            ("resnet50", "conv5_3", 483),
            ("resnet101", "conv5_3", 1027),
            ("resnet152", "conv5_3", 1507),
        )
    ),
)
