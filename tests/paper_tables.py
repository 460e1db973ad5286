"""The papers' numbers as data, with which the tests compare the networks."""

# Parameters, multiply-adds of one image, image size, channels, classes.
# Parameters count biases and BatchNorm's scale and shift, not its running statistics.
# Multiply-adds count convolutions and dense layers, padding taps included.
#
# ResNet: counted from He et al. 2015, Table 1 (18 to 152 layers) and Section 4.2
# (6n + 2); torchvision publishes the same totals for 18 and 34 layers.
# LeNet-5: LeCun et al. 1998, Section II.B: C1 156, S2 12, C3 1,516, S4 32, C5 48,120,
# F6 10,164, together 60,000; and 850 of the softmax that replaces the bitmaps.
# Its multiply-adds: C1 117,600, C3 240,000 (dense), C5 48,000, F6 10,080, output 840.
TOTALS = {
    "lenet5": (60_850, 416_520, 32, 1, 10),
    # Zhang et al., "Dive into Deep Learning", Section 7.6: the sum of 156, 2,416,
    # 48,120, 10,164 and 850.
    "lenet": (61_706, 416_520, 28, 1, 10),
    # Krizhevsky et al. 2012, Figure 2. Section 3.5: "60 million parameters".
    "alexnet": (60_965_224, 724_406_816, 227, 3, 1000),
    "alexnet_one_tower": (62_378_344, 1_135_256_096, 227, 3, 1000),  # CS231n's table
    "alexnet_owt": (61_100_840, 714_188_480, 224, 3, 1000),  # torchvision's too
    # cuda-convnet, layers-conv-local-11pct.cfg, on 24 px: conv1 4,864, conv2 102,464;
    # local3 and local4 at 36 positions: 36 x 64 x (9 x 64 + 1) = 1,329,408 and 36 x 32
    # x (9 x 64 + 1) = 664,704; fc10 11,530. Multiply-adds: 576 x 64 x 75 = 2,764,800;
    # 144 x 64 x 1,600 = 14,745,600; 1,327,104; 663,552; 11,520.
    "cuda_convnet": (2_112_970, 19_512_576, 24, 3, 10),
    # Zeiler and Fergus 2013, Figure 3; Table 2 (b).
    "zfnet": (62_357_608, 1_168_032_896, 224, 3, 1000),
    "zfnet_wide": (107_627_624, 2_476_704_896, 224, 3, 1000),
    # Simonyan and Zisserman 2014, Table 1; torchvision's too, but for C and A-LRN.
    "vgg11": (132_863_336, 7_609_090_048, 224, 3, 1000),
    "vgg11_lrn": (132_863_336, 7_609_090_048, 224, 3, 1000),
    "vgg11_bn": (132_868_840, 7_609_090_048, 224, 3, 1000),
    "vgg13": (133_047_848, 11_308_466_176, 224, 3, 1000),
    "vgg13_bn": (133_053_736, 11_308_466_176, 224, 3, 1000),
    "vgg16_c": (133_638_952, 11_770_888_192, 224, 3, 1000),
    "vgg16": (138_357_544, 15_470_264_320, 224, 3, 1000),
    "vgg16_bn": (138_365_992, 15_470_264_320, 224, 3, 1000),
    "vgg19": (143_667_240, 19_632_062_464, 224, 3, 1000),
    "vgg19_bn": (143_678_248, 19_632_062_464, 224, 3, 1000),
    # Lin et al. 2013: the authors' Caffe models.
    "nin": (7_595_176, 1_100_188_800, 224, 3, 1000),
    "nin_cifar": (966_986, 222_486_528, 32, 3, 10),
    # Szegedy et al. 2014, Table 1, without the auxiliary heads; torchvision's.
    "googlenet": (6_998_552, 1_582_671_872, 224, 3, 1000),
    "googlenet_bn": (6_624_904, 1_498_376_192, 224, 3, 1000),
    # Szegedy et al. 2015 and 2016; torchvision's, and timm's.
    "inception_v3": (23_834_568, 5_713_216_096, 299, 3, 1000),
    "inception_v4": (42_679_816, 12_253_974_624, 299, 3, 1000),
    "resnet18": (11_689_512, 1_814_073_344, 224, 3, 1000),
    "resnet34": (21_797_672, 3_663_761_408, 224, 3, 1000),
    "resnet50": (25_557_032, 3_857_973_248, 224, 3, 1000),
    "resnet101": (44_549_160, 7_570_194_432, 224, 3, 1000),
    "resnet152": (60_192_808, 11_282_415_616, 224, 3, 1000),
    "resnet50_v1_5": (25_557_032, 4_089_184_256, 224, 3, 1000),
    "resnet101_v1_5": (44_549_160, 7_801_405_440, 224, 3, 1000),
    "resnet152_v1_5": (60_192_808, 11_513_626_624, 224, 3, 1000),
    "plain18": (11_515_688, 1_794_805_760, 224, 3, 1000),
    "plain34": (21_623_848, 3_644_493_824, 224, 3, 1000),
    "resnet20": (269_722, 40_551_040, 32, 3, 10),
    "resnet32": (464_154, 68_862_592, 32, 3, 10),
    "resnet44": (658_586, 97_174_144, 32, 3, 10),
    "resnet56": (853_018, 125_485_696, 32, 3, 10),
    "resnet110": (1_727_962, 252_887_680, 32, 3, 10),
    "resnet1202": (19_421_274, 2_829_238_912, 32, 3, 10),
    "plain20": (269_722, 40_551_040, 32, 3, 10),
    "plain32": (464_154, 68_862_592, 32, 3, 10),
    "plain44": (658_586, 97_174_144, 32, 3, 10),
    "plain56": (853_018, 125_485_696, 32, 3, 10),
    "plain110": (1_727_962, 252_887_680, 32, 3, 10),
}

# Parameters of the auxiliary heads, by hand: GoogLeNet's from Szegedy et al. 2014,
# Section 5, at 224 px: 1x1 convolutions 65,664 and 67,712, twice 2,098,176 + 1,025,000.
# torchvision's: 27,161,264 and 13,004,888 with them. Inception-v4's in TF-Slim: 1x1
# convolution 1,024 x 128, 5x5 25 x 128 x 768, dense 769 x 1,000; BatchNorm 2 x 896.
AUX_PARAMS = {
    "googlenet": 13_378_280 - 6_998_552,
    "googlenet_bn": 13_004_888 - 6_624_904,
    "inception_v3": 27_161_264 - 23_834_568,
    "inception_v4": 131_072 + 2_457_600 + 769_000 + 1_792,
}

# He et al. 2015, Section 4.1: the shortcut options; parameters and multiply-adds.
SHORTCUTS = {
    ("resnet18", "A"): (11_515_688, 1_794_805_760),
    ("resnet18", "C"): (12_043_816, 1_878_298_624),
    ("resnet34", "A"): (21_623_848, 3_644_493_824),
    ("resnet20", "B"): (272_474, 40_813_184),
    ("resnet110", "B"): (1_730_714, 253_149_824),
}

# fmt: off
# He et al. 2015, Table 1: multiply-adds ("FLOPs") as printed, two digits.
RESNET_TABLE1_MACS = {
    "resnet18": 1.8e9, "resnet34": 3.6e9, "resnet50": 3.8e9, "resnet101": 7.6e9,
    "resnet152": 11.3e9,
}

# LeCun et al. 1998, Section II.B: trained parameters of each layer.
LENET5_LAYERS = {"C1": 156, "S2": 12, "C3": 1516, "S4": 32, "C5": 48120, "F6": 10164}

# Simonyan and Zisserman 2014, Table 2: parameters in millions, as printed.
VGG_TABLE2_MILLIONS = {
    "vgg11": 133, "vgg11_lrn": 133, "vgg13": 133, "vgg16_c": 134, "vgg16": 138,
    "vgg19": 144,
}

# Szegedy et al. 2014, Table 1: weights ("params", in units of 1,024) and multiply-adds
# ("ops", in millions), as printed. Some weights are off: 4c has 497 K, 5a 1,018 K.
GOOGLENET_TABLE1 = {
    "3a": (159, 128), "3b": (380, 304),
    "4a": (364, 73), "4b": (437, 88), "4c": (463, 100), "4d": (580, 119),
    "4e": (840, 170), "5a": (1072, 54), "5b": (1388, 71),
}

# Output shapes [H, W, C] at the paper's image size; a block's is its last layer's.
# LeNet-5: Section II.B. AlexNet: Figure 2, CS231n's table. ZFNet: Figure 3. VGG: Table
# 1. NiN, cuda-convnet: the authors' files. GoogLeNet: Table 1. Inception-v3: Table 1,
# for the stem TF-Slim. Inception-v4: Figures 3 and 9. ResNet: Table 1, Section 4.2.
_ALEXNET = {
    "conv1": (55, 55, 96), "norm1": (55, 55, 96), "pool1": (27, 27, 96),
    "conv2": (27, 27, 256), "norm2": (27, 27, 256), "pool2": (13, 13, 256),
    "conv3": (13, 13, 384), "conv4": (13, 13, 384), "conv5": (13, 13, 256),
    "pool5": (6, 6, 256), "fc6": (4096,), "fc7": (4096,), "fc8": (1000,),
}
_ZFNET = {
    "conv1": (110, 110, 96), "pool1": (55, 55, 96), "conv2": (26, 26, 256),
    "pool2": (13, 13, 256), "conv3": (13, 13, 384), "conv4": (13, 13, 384),
    "conv5": (13, 13, 256), "pool5": (6, 6, 256), "fc6": (4096,), "fc7": (4096,),
    "fc8": (1000,),
}
_VGG = {
    "conv1_1": (224, 224, 64), "pool1": (112, 112, 64), "conv2_1": (112, 112, 128),
    "pool2": (56, 56, 128), "conv3_2": (56, 56, 256), "pool3": (28, 28, 256),
    "conv4_2": (28, 28, 512), "pool4": (14, 14, 512), "conv5_2": (14, 14, 512),
    "pool5": (7, 7, 512), "fc6": (4096,), "fc7": (4096,), "fc8": (1000,),
}
_VGG13 = _VGG | {"conv1_2": (224, 224, 64), "conv2_2": (112, 112, 128)}
_VGG16 = _VGG13 | {
    "conv3_3": (56, 56, 256), "conv4_3": (28, 28, 512), "conv5_3": (14, 14, 512),
}
_VGG19 = _VGG16 | {
    "conv3_4": (56, 56, 256), "conv4_4": (28, 28, 512), "conv5_4": (14, 14, 512),
}
_GOOGLENET = {
    "conv1": (112, 112, 64), "pool1": (56, 56, 64), "conv2_reduce": (56, 56, 64),
    "conv2": (56, 56, 192), "pool2": (28, 28, 192), "inception_3a": (28, 28, 256),
    "inception_3b": (28, 28, 480), "pool3": (14, 14, 480),
    "inception_4a": (14, 14, 512), "inception_4b": (14, 14, 512),
    "inception_4c": (14, 14, 512), "inception_4d": (14, 14, 528),
    "inception_4e": (14, 14, 832), "pool4": (7, 7, 832), "inception_5a": (7, 7, 832),
    "inception_5b": (7, 7, 1024), "pool5": (1024,), "fc": (1000,),
}
_RESNET = {"conv1": (112, 112, 64), "pool1": (56, 56, 64), "fc": (1000,)}
_RESNET18 = _RESNET | {
    "conv2_2": (56, 56, 64), "conv3_2": (28, 28, 128), "conv4_2": (14, 14, 256),
    "conv5_2": (7, 7, 512), "pool5": (512,),
}
_RESNET34 = _RESNET | {
    "conv2_3": (56, 56, 64), "conv3_4": (28, 28, 128), "conv4_6": (14, 14, 256),
    "conv5_3": (7, 7, 512), "pool5": (512,),
}
_RESNET50 = _RESNET | {
    "conv2_3": (56, 56, 256), "conv3_4": (28, 28, 512), "conv4_6": (14, 14, 1024),
    "conv5_3": (7, 7, 2048), "pool5": (2048,),
}
_RESNET101 = _RESNET | {
    "conv2_3": (56, 56, 256), "conv3_4": (28, 28, 512), "conv4_23": (14, 14, 1024),
    "conv5_3": (7, 7, 2048), "pool5": (2048,),
}
_RESNET152 = _RESNET | {
    "conv2_3": (56, 56, 256), "conv3_8": (28, 28, 512), "conv4_36": (14, 14, 1024),
    "conv5_3": (7, 7, 2048), "pool5": (2048,),
}
# fmt: on


def _cifar(depth):
    """6n + 2 layers: n blocks at each of 32, 16 and 8 px."""
    n = (depth - 2) // 6
    return {
        "conv1": (32, 32, 16),
        f"conv2_{n}": (32, 32, 16),
        f"conv3_{n}": (16, 16, 32),
        f"conv4_{n}": (8, 8, 64),
        "pool": (64,),
        "fc": (10,),
    }


# fmt: off
STAGE_SHAPES = {
    "lenet5": {
        "C1": (28, 28, 6), "S2": (14, 14, 6), "C3": (10, 10, 16), "S4": (5, 5, 16),
        "C5": (1, 1, 120), "F6": (84,),
    },
    "lenet": {
        "conv1": (28, 28, 6), "pool1": (14, 14, 6), "conv2": (10, 10, 16),
        "pool2": (5, 5, 16), "fc1": (120,), "fc2": (84,), "fc3": (10,),
    },
    "alexnet": _ALEXNET,
    "alexnet_one_tower": _ALEXNET,
    "alexnet_owt": {
        "conv1": (55, 55, 64), "pool1": (27, 27, 64), "conv2": (27, 27, 192),
        "pool2": (13, 13, 192), "conv3": (13, 13, 384), "conv4": (13, 13, 256),
        "conv5": (13, 13, 256), "pool5": (6, 6, 256), "fc6": (4096,), "fc7": (4096,),
        "fc8": (1000,),
    },
    "cuda_convnet": {
        "conv1": (24, 24, 64), "pool1": (12, 12, 64), "rnorm1": (12, 12, 64),
        "conv2": (12, 12, 64), "rnorm2": (12, 12, 64), "pool2": (6, 6, 64),
        "local3": (6, 6, 64), "local4": (6, 6, 32), "fc10": (10,),
    },
    "zfnet": _ZFNET,
    "zfnet_wide": _ZFNET | {
        "conv3": (13, 13, 512), "conv4": (13, 13, 1024), "conv5": (13, 13, 512),
        "pool5": (6, 6, 512),
    },
    "vgg11": _VGG,
    "vgg11_lrn": _VGG | {"norm1_1": (224, 224, 64)},
    "vgg11_bn": _VGG,
    "vgg13": _VGG13,
    "vgg13_bn": _VGG13,
    "vgg16_c": _VGG16,
    "vgg16": _VGG16,
    "vgg16_bn": _VGG16,
    "vgg19": _VGG19,
    "vgg19_bn": _VGG19,
    "nin": {
        "mlpconv1": (54, 54, 96), "pool1": (27, 27, 96), "mlpconv2": (27, 27, 256),
        "pool2": (13, 13, 256), "mlpconv3": (13, 13, 384), "pool3": (6, 6, 384),
        "mlpconv4": (6, 6, 1000), "pool4": (1000,),
    },
    "nin_cifar": {
        "mlpconv1": (32, 32, 96), "pool1": (16, 16, 96), "mlpconv2": (16, 16, 192),
        "pool2": (8, 8, 192), "mlpconv3": (8, 8, 10), "pool3": (10,),
    },
    "googlenet": _GOOGLENET,
    "googlenet_bn": _GOOGLENET,
    "inception_v3": {
        "Conv2d_1a_3x3": (149, 149, 32), "Conv2d_2a_3x3": (147, 147, 32),
        "Conv2d_2b_3x3": (147, 147, 64), "MaxPool_3a_3x3": (73, 73, 64),
        "Conv2d_3b_1x1": (73, 73, 80), "Conv2d_4a_3x3": (71, 71, 192),
        "MaxPool_5a_3x3": (35, 35, 192), "Mixed_5b": (35, 35, 256),
        "Mixed_5d": (35, 35, 288), "Mixed_6a": (17, 17, 768), "Mixed_6e": (17, 17, 768),
        "Mixed_7a": (8, 8, 1280), "Mixed_7c": (8, 8, 2048), "pool": (2048,),
        "fc": (1000,),
    },
    "inception_v4": {
        "stem": (35, 35, 384), "Mixed_5e": (35, 35, 384), "Mixed_6a": (17, 17, 1024),
        "Mixed_6h": (17, 17, 1024), "Mixed_7a": (8, 8, 1536), "Mixed_7d": (8, 8, 1536),
        "pool": (1536,), "fc": (1000,),
    },
    "resnet18": _RESNET18,
    "resnet34": _RESNET34,
    "resnet50": _RESNET50,
    "resnet101": _RESNET101,
    "resnet152": _RESNET152,
    "resnet50_v1_5": _RESNET50,
    "resnet101_v1_5": _RESNET101,
    "resnet152_v1_5": _RESNET152,
    "plain18": _RESNET18,
    "plain34": _RESNET34,
    **{f"resnet{depth}": _cifar(depth) for depth in (20, 32, 44, 56, 110, 1202)},
    **{f"plain{depth}": _cifar(depth) for depth in (20, 32, 44, 56, 110)},
}
# fmt: on
