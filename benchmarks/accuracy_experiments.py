"""What docs/results.md compares: recipes, their data, and the papers' errors."""

import dataclasses
from collections.abc import Mapping, Sequence

DATA = {
    "mnist": "MNIST's four original files",
    "cifar": "CIFAR-10 as folders of JPEG files",
    "photos": "clothing-dataset-small",
}
BASE = "--config=configs"
MEAN_IMAGE = "--config.data.normalisation=mean_image"  # as the recipes do for CIFAR
BFLOAT16 = "--config.precision=bfloat16"  # half the time of float32 where it is native
FLOAT32 = "--config.precision=float32"


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Recipes that the page compares: a table and a picture of curves."""

    title: str
    data: str  # a key of DATA
    paper: str  # its errors, with their place
    remarks: str  # what was shortened or changed, and why
    variants: Mapping[str, Sequence[str]]  # the words of train.py for each
    seeds: int = 1


def on_photographs(name: str, precision: str = BFLOAT16) -> list[str]:
    """Returns the words of train.py for a recipe made for ImageNet."""
    return [
        f"{BASE}/{name}.py:folder",
        "--config.epochs=20",
        "--config.data.image_size=96",
        precision,
    ]


EXPERIMENTS = {
    "lenet": Experiment(
        "LeNet-5, and the LeNet of Dive into Deep Learning, on MNIST",
        "mnist",
        "LeCun et al. 1998, Section III.B: 0.95 % for LeNet-5, 0.8 % with distorted "
        "training images, both on the 10,000 test images.",
        "LeNet-5 as in the paper, 20 passes (Section III.B). Dive into Deep Learning "
        "trains its LeNet, which has sigmoids and average pools, in 10 passes over "
        "Fashion-MNIST; its error still falls then, so there is also a run of 50. The "
        "paper trains on all 60,000 images, the runs here on 98 % of them.",
        {
            "lenet5": [f"{BASE}/lenet5.py:mnist"],
            "lenet5, distorted images": [
                f"{BASE}/lenet5.py:mnist",
                "--config.data.train_crop=affine",
            ],
            "lenet": [f"{BASE}/lenet.py:mnist"],
            "lenet, 50 passes": [f"{BASE}/lenet.py:mnist", "--config.epochs=50"],
        },
        seeds=5,
    ),
    "resnet20": Experiment(
        "ResNet-20 on CIFAR-10",
        "cifar",
        "He et al. 2015, Table 6: 8.75 % after 64,000 steps.",
        "An eighth of the paper's steps, with the falls of the rate at the same shares "
        "of the run, in bfloat16. The images are a JPEG copy (quality about 75).",
        {
            "resnet20": [
                f"{BASE}/resnet20.py:folder",
                MEAN_IMAGE,
                BFLOAT16,
                "--config.epochs=22.75",
            ]
        },
    ),
    "resnet20_fast": Experiment(
        "ResNet-20 on CIFAR-10 in half an hour",
        "cifar",
        "none has this recipe; He et al. 2015, Table 6, has 8.75 % after 64,000 steps.",
        "The recipe's own length, in float32. The first run had both cores for itself "
        "and took 31 minutes, start and test included. The others had a core each, "
        "which other programs used as well. The images are a JPEG copy (quality about "
        "75).",
        {"resnet20_fast": [f"{BASE}/resnet20_fast.py:folder"]},
        seeds=3,
    ),
    "photographs": Experiment(
        "AlexNet and GoogLeNet on photographs, from scratch",
        "photos",
        "none trains on these; ImageNet has 400 times as many images.",
        "At 96 px instead of 224, for 20 epochs instead of 30, AlexNet in bfloat16 and "
        "GoogLeNet in float32. AlexNet's biases start at 0.1, as in all short runs: "
        "with the paper's 1, runs of 12 and of 20 epochs learnt nothing.",
        {
            "alexnet": on_photographs("alexnet"),
            "googlenet": on_photographs("googlenet", FLOAT32),
        },
        seeds=3,
    ),
    "vgg11": Experiment(
        "VGG-11 on photographs, from scratch",
        "photos",
        "none trains on these; ImageNet has 400 times as many images.",
        "At 96 px instead of 224, for 20 epochs instead of 30, in bfloat16. Weights "
        "start as in all short runs, by Glorot and Bengio.",
        {"vgg11": on_photographs("vgg11")},
    ),
    "cuda_convnet": Experiment(
        "The four-layer network of AlexNet's paper, with and without LRN",
        "cifar",
        "Krizhevsky et al. 2012, Section 3.3: 13 % without LRN, 11 % with it.",
        "Twelve epochs instead of 520, or 160 without LRN, in bfloat16. The images are "
        "a JPEG copy (quality about 75).",
        {
            "with LRN": [
                f"{BASE}/cuda_convnet.py:folder",
                MEAN_IMAGE,
                BFLOAT16,
                "--config.epochs=12",
            ],
            "without LRN": [
                f"{BASE}/cuda_convnet.py:folder",
                MEAN_IMAGE,
                BFLOAT16,
                "--config.epochs=12",
                "--config.model.fields.local_response_norm=false",
            ],
        },
        seeds=3,
    ),
    "fine_tuning": Experiment(
        "Fine-tuning against training from scratch",
        "photos",
        "none has this comparison.",
        "Photographs scaled to 32 px. The start is the ResNet-20 above, trained on "
        "CIFAR-10; it has no class in common with them. In bfloat16.",
        {
            "from scratch": [
                f"{BASE}/resnet20.py:folder",
                MEAN_IMAGE,
                BFLOAT16,
                "--config.epochs=30",
            ],
            "fine-tuned": [
                f"{BASE}/resnet20.py:folder",
                MEAN_IMAGE,
                BFLOAT16,
                "--config.epochs=30",
                "--init_from=runs/results/resnet20/resnet20/0",
                "--config.optim.body_rate=0.1",
            ],
        },
        seeds=5,
    ),
    "nin_cifar": Experiment(
        "NiN on CIFAR-10, with whitened images",
        "cifar",
        "Lin et al. 2013, Table 1: 10.41 % without augmentation, 8.81 % with it; both "
        "with whitened images.",
        "Three epochs instead of 260, in float32. Batches have 32 images, a quarter of "
        "the recipe's, with a quarter of its rate: so there are more steps. The images "
        "are a JPEG copy (quality about 75).",
        {
            "nin_cifar": [
                f"{BASE}/nin_cifar.py:folder",
                "--config.epochs=3",
                "--config.batch_size=32",
                "--config.optim.learning_rate=0.025",
            ],
        },
    ),
}
