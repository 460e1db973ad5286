"""PyTorch's side of loader.py; needs torch and torchvision.

It is the loader of torchvision's ImageNet example: ImageFolder, RandomResizedCrop and
RandomHorizontalFlip, here with uint8 tensors as the result. Pillow decodes, or
torchvision.io, whose tensors then are cut and resized.
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
    """Starts the worker processes; returns the versions, and what takes a batch."""
    size, batch_size = case["image_size"], case["batch_size"]
    steps: list = [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip()]
    folder = os.path.join(case["data_dir"], "train")
    if case["loader"] == "pytorch_io":
        transform = v2.Compose(steps)
        dataset = ImageFolder(folder, transform=transform, loader=read_tensor)
    else:
        dataset = ImageFolder(folder, transform=v2.Compose([*steps, v2.PILToTensor()]))
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
