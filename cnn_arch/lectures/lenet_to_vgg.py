"""The claims of lectures about LeNet-5, AlexNet, ZFNet and VGG."""

from cnn_arch.lectures import counts
from cnn_arch.lectures.claim import (
    CS231N,
    CS231N_NOTES,
    D2L,
    EECS498,
    EECS498_7,
    NOTES,
    Claim,
)
from cnn_arch.lectures.counts import find, network, total, weights

ALEXNET_LAYERS = "input conv1 pool1 conv2 pool2 conv3 conv4 conv5 pool5 fc6 fc7 fc8"
ALEXNET_SIZES = (
    "227x227x3 55x55x96 27x27x96 27x27x256 13x13x256 "
    "13x13x384 13x13x384 13x13x256 6x6x256 4096 4096 1000"
)

EARLY = (
    Claim(
        "lenet5",
        "20 and 50 maps, a dense layer of 500, on 28 px",
        EECS498_7,
        (20, 50, 500, 28),
        lambda: (
            *(counts.width("lenet5", name) for name in ("C1", "C3", "F6")),
            network("lenet5")[0].output_shape[0],
        ),
        units=("maps", "maps", "units", "px"),
        reason="that is the LeNet of Caffe's examples, not that of 1998",
    ),
    Claim(
        "alexnet",
        "takes 227 px, not the 224 that the paper prints",
        CS231N_NOTES,
        (227,),
        lambda: (counts.pixels_used("alexnet", "conv1"),),
        units=("px",),
    ),
    Claim(
        "alexnet",
        "5 convolutions, 3 max-pools, 3 dense layers",
        CS231N,
        (5, 3, 3),
        lambda: counts.kinds("alexnet", "conv", "max_pool", "dense"),
        units=("convolutions", "max-pools", "dense layers"),
    ),
    Claim(
        "alexnet",
        "5 max-pools and 3 ReLUs",
        NOTES,
        (5, 3),
        lambda: counts.kinds("alexnet", "max_pool", "activation"),
        units=("max-pools", "ReLUs"),
        reason="the paper pools after conv1, conv2, conv5; all but fc8 have a ReLU",
    ),
    Claim(
        "alexnet",
        "conv1 of 64 filters, padding 2: 64x56x56 = 200,704 numbers, 784 KB",
        EECS498,
        (200_704, 802_816, 784),
        counts.conv1_output,
        units=("elements", "bytes", "KiB"),
    ),
    Claim(
        "alexnet",
        "conv1 of 64 filters: 23,232 weights + 64 biases = 23,296",
        EECS498,
        (23_232, 64, 23_296),
        counts.conv1_params,
        units=("weights", "biases", "parameters"),
    ),
    Claim(
        "alexnet",
        "conv1 of 64 filters: 200,704 x 363 = 72,855,552 multiply-adds",
        EECS498,
        (72_855_552,),
        lambda: (find(counts.eecs_alexnet(), "conv1").macs,),
        units=("MACs",),
    ),
    Claim(
        "alexnet",
        "conv4: 145 M multiply-adds",
        EECS498,
        (145,),
        lambda: (find(counts.eecs_alexnet(), "conv4").macs / 1e6,),
        units=("M MACs",),
        precision=(1,),
        reason="13 x 13 x 256 x 3,456 is 149.5 M: a slip of the pen",
    ),
    Claim(
        "alexnet",
        "1.9 MB of memory in all (here: of convolutions' outputs)",
        EECS498,
        (1.9,),
        lambda: (counts.conv_mib(counts.eecs_alexnet()),),
        units=("MiB",),
        precision=(0.1,),
    ),
    Claim(
        "alexnet",
        "conv1 of 96 filters: (227 - 11)/4 + 1 = 55; 96 x 11 x 11 x 3 weights",
        CS231N,
        ("55x55x96", 34_848),
        lambda: (
            *counts.shapes("alexnet", "conv1"),
            weights([find(network("alexnet"), "conv1")]),
        ),
        units=("", "weights"),
    ),
    Claim(
        "alexnet",
        "the sizes: 27x27x96, 13x13x256, 13x13x384 twice, 13x13x256, 6x6x256, "
        "4096, 4096, 1000",
        CS231N,
        tuple(ALEXNET_SIZES.split()),
        lambda: counts.shapes("alexnet", *ALEXNET_LAYERS.split()),
    ),
    Claim(
        "alexnet",
        "normalises after it pools: norm1 27x27x96, norm2 13x13x256",
        CS231N,
        ("27x27x96", "13x13x256"),
        lambda: counts.shapes("alexnet", "norm1", "norm2"),
        reason="the paper's Section 3.5 pools what is normalised; Caffe's CaffeNet "
        "pools first",
    ),
    Claim(
        "alexnet",
        "most memory in early convolutions, parameters in the first dense layers, "
        "FLOPs in convolutions (here: in conv1, in fc6)",
        EECS498,
        ("conv1", "fc6", "conv"),
        lambda: counts.where("alexnet"),
    ),
    Claim(
        "alexnet",
        "the two large dense layers hold nearly 1 GB",
        D2L,
        (1.0,),
        lambda: (  # 4 bytes each; GB of 10^9
            4 * sum(find(network("alexnet"), fc).params for fc in ("fc6", "fc7")) / 1e9,
        ),
        units=("GB",),
        precision=(0.1,),
        reason="that is one float32 copy; gradients and momentum are as much again "
        "each",
    ),
    Claim(
        "alexnet",
        "a GPU has 48 of conv1's 96 maps; conv2, 4 and 5 see only their half",
        CS231N,
        (48, 192, 192),
        lambda: counts.input_maps(conv2=5, conv4=3, conv5=3),
        units=("input maps",),
    ),
    Claim(
        "alexnet",
        "a GPU has 64 maps of conv1",
        NOTES,
        (64,),
        lambda: counts.input_maps(conv2=5),
        units=("maps",),
        reason="64 is all of conv1 in the one-tower net of Krizhevsky 2014",
        slip=lambda: (counts.width("alexnet_owt", "conv1"),),
    ),
    Claim(
        "alexnet",
        "conv3, fc6, fc7 and fc8 see the maps of both GPUs: conv3 all 256",
        CS231N,
        (256, 9216, 4096, 4096),
        lambda: counts.input_maps(conv3=3, fc6=1, fc7=1, fc8=1),
        units=("maps", "inputs", "inputs", "inputs"),
    ),
    Claim(
        "zfnet",
        "AlexNet with conv1 7x7, stride 2, and conv3, 4, 5 of 512, 1024, 512",
        CS231N,
        (7, 2, 512, 1024, 512),
        lambda: counts.zfnet_widths("zfnet"),
        units=("px", "px", "maps", "maps", "maps"),
        reason="that is model (b) of Table 2, here zfnet_wide, with 16.0 % and not "
        "11.7 % of error; the net of Figure 3 keeps AlexNet's widths",
        slip=lambda: counts.zfnet_widths("zfnet_wide"),
    ),
    Claim(
        "zfnet",
        "a bigger AlexNet (here: more multiply-adds)",
        CS231N,
        ("yes",),
        lambda: counts.yes(counts.ratio("macs", "zfnet", "alexnet") > 1),
    ),
    Claim(
        "vgg",
        "three 3x3 see 7 px, as one 7x7; 27 C^2 weights for 49 C^2; 3 ReLUs for 1",
        CS231N,
        (7, 7, 27, 49, 3, 1),
        counts.three_against_one,
        units=("px", "px", "C^2 weights", "C^2 weights", "ReLUs", "ReLU"),
    ),
    Claim(
        "vgg11",
        "8 convolutions in blocks of 1, 1, 2, 2, 2, then 3 dense layers",
        D2L,
        (8, 1, 1, 2, 2, 2, 3),
        lambda: (
            *counts.kinds("vgg11", "conv"),
            *(
                sum(row.name.startswith(f"conv{i}_") for row in network("vgg11")) // 2
                for i in range(1, 6)  # a row for the convolution, one for its ReLU
            ),
            *counts.kinds("vgg11", "dense"),
        ),
        units=("convolutions", *(f"in block {i}" for i in range(1, 6)), "dense layers"),
    ),
    Claim(
        "vgg11",
        "the maps double from 64 to 512",
        D2L,
        (64, 128, 256, 512, 512),
        lambda: tuple(counts.width("vgg11", f"pool{i}") for i in range(1, 6)),
        units=("maps",),
    ),
    Claim(
        "vgg16",
        "96 MB an image for the forward pass",
        CS231N,
        (96,),
        lambda: (total(network("vgg16"), "output_bytes", *counts.CS231N_MEMORY) / 1e6,),
        units=("MB",),
        precision=(1,),
        reason="the slide's own rows add up to the number counted here",
    ),
    Claim(
        "vgg16",
        "138 M parameters",
        CS231N,
        (138,),
        lambda: (total(network("vgg16"), "params") / 1e6,),
        units=("M parameters",),
        precision=(1,),
    ),
    Claim(
        "vgg16",
        "against AlexNet: 48.6 MB (25x), 138 M parameters (2.3x), 13.6 GFLOP (19.4x)",
        EECS498,
        (48.6, 25, 138, 2.3, 13.6, 19.4),
        lambda: counts.against_alexnet(network("vgg16")),
        units=("MiB", "times", "M parameters", "times", "G MACs", "times"),
        precision=(0.1, 1, 1, 0.1, 0.1, 0.1),
        reason="the slide draws conv3 with two layers: without conv3_3, and AlexNet "
        "rounded to 0.7 G, it holds",
        slip=lambda: counts.against_alexnet(counts.short_vgg16(), 0.7e9),
    ),
    Claim(
        "vgg16",
        "most memory in early convolutions, parameters in the first dense layers, "
        "FLOPs in convolutions (here: in conv1_1, in fc6)",
        NOTES,
        ("conv1_1", "fc6", "conv"),
        lambda: counts.where("vgg16"),
    ),
    Claim(
        "vgg16",
        "224 to 28 px: 42.9 MB, 1.1 M weights, 7,485 M multiply-adds",
        EECS498,
        (42.9, 1.1, 7485),
        lambda: counts.stem(network("vgg16"), "pool3", 1e6, "conv"),
        units=("MiB", "M weights", "M MACs"),
        precision=(0.1, 0.1, 1),
        reason="the slide draws conv3 with two layers: without conv3_3 it holds",
        slip=lambda: counts.stem(counts.short_vgg16(), "pool3", 1e6, "conv"),
    ),
    Claim(
        "vgg19",
        "needs more memory than VGG-16",
        CS231N,
        ("yes",),
        lambda: counts.yes(
            counts.conv_mib(network("vgg19")) > counts.conv_mib(network("vgg16"))
        ),
    ),
)
