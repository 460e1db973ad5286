"""The worker of loader.py for PyTorch; needs torch and torchvision.

The loader of torchvision's ImageNet example (ImageFolder, RandomResizedCrop,
RandomHorizontalFlip), with uint8 tensors as the result. Pillow or torchvision.io
decodes.
"""
# pyright: reportMissingImports=false

import os

import torch
import torchvision
from torch.utils.data import DataLoader, RandomSampler
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2
from worker import serve

ENDLESS = 10**9  # images


def read_tensor(path: str):
    """Decodes a file to uint8 [3, H, W]."""
    return decode_image(path, ImageReadMode.RGB)


def prepare(case: dict):
    """Starts the processes; returns the versions, and a pass that takes a batch."""
    size, batch_size = case["image_size"], case["batch_size"]
    steps: list = [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip()]
    read = {"loader": read_tensor}
    if case["loader"] == "pytorch_pil":
        steps.append(v2.PILToTensor())
        read = {}
    folder = os.path.join(case["data_dir"], "train")
    dataset = ImageFolder(folder, transform=v2.Compose(steps), **read)
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=RandomSampler(dataset, num_samples=ENDLESS),
        num_workers=case["workers"],
    )
    stream = iter(loader)

    def take() -> None:
        image, _ = next(stream)
        assert image.shape == (batch_size, 3, size, size)
        assert image.dtype == torch.uint8

    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    return {"versions": versions}, {"batch": take}


if __name__ == "__main__":
    serve(prepare)
