"""The papers' numbers as data: what the networks are compared with."""

# Parameters, multiply-adds of one image, image size, channels, classes.
# Parameters count biases and BatchNorm's scale and shift, not its running statistics.
# Multiply-adds are those of convolutions and dense layers, padding taps included.
#
# ResNet: counted from He et al. 2015, Table 1 (18 to 152 layers) and Section 4.2
# (6n + 2); the totals of 18 and 34 layers are torchvision's published ones too.
# LeNet-5: LeCun et al. 1998, Section II.B: C1 156, S2 12, C3 1,516, S4 32, C5 48,120,
# F6 10,164, together 60,000; and 850 of the softmax that stands in for the bitmaps.
# Its multiply-adds: C1 117,600, C3 240,000 (dense), C5 48,000, F6 10,080, output 840.
TOTALS = {
    "lenet5": (60_850, 416_520, 32, 1, 10),
    "resnet18": (11_689_512, 1_814_073_344, 224, 3, 1000),
    "resnet34": (21_797_672, 3_663_761_408, 224, 3, 1000),
    "resnet50": (25_557_032, 3_857_973_248, 224, 3, 1000),
    "resnet101": (44_549_160, 7_570_194_432, 224, 3, 1000),
    "resnet152": (60_192_808, 11_282_415_616, 224, 3, 1000),
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

# He et al. 2015, Section 4.1: the shortcut options; parameters and multiply-adds.
SHORTCUTS = {
    ("resnet18", "A"): (11_515_688, 1_794_805_760),
    ("resnet18", "C"): (12_043_816, 1_878_298_624),
    ("resnet34", "A"): (21_623_848, 3_644_493_824),
    ("resnet20", "B"): (272_474, 40_813_184),
    ("resnet110", "B"): (1_730_714, 253_149_824),
}

# He et al. 2015, Table 1: multiply-adds ("FLOPs") as printed, two digits.
RESNET_TABLE1_MACS = {
    "resnet18": 1.8e9,
    "resnet34": 3.6e9,
    "resnet50": 3.8e9,
    "resnet101": 7.6e9,
    "resnet152": 11.3e9,
}

# LeCun et al. 1998, Section II.B: trained parameters of each layer.
LENET5_LAYERS = {"C1": 156, "S2": 12, "C3": 1516, "S4": 32, "C5": 48120, "F6": 10164}

# Output shapes [H, W, C] at the paper's image size; a block stands for its last layer.
STAGE_SHAPES = {
    "lenet5": {
        "C1": (28, 28, 6),
        "S2": (14, 14, 6),
        "C3": (10, 10, 16),
        "S4": (5, 5, 16),
        "C5": (1, 1, 120),
        "F6": (84,),
    },
    "resnet34": {
        "conv1": (112, 112, 64),
        "conv2_3": (56, 56, 64),
        "conv3_4": (28, 28, 128),
        "conv4_6": (14, 14, 256),
        "conv5_3": (7, 7, 512),
        "fc": (1000,),
    },
    "resnet152": {
        "conv2_3": (56, 56, 256),
        "conv3_8": (28, 28, 512),
        "conv4_36": (14, 14, 1024),
        "conv5_3": (7, 7, 2048),
    },
    "resnet20": {
        "conv1": (32, 32, 16),
        "conv2_3": (32, 32, 16),
        "conv3_3": (16, 16, 32),
        "conv4_3": (8, 8, 64),
        "fc": (10,),
    },
}
