"""The PyTorch side of loader.py; runs in an environment that has torch and torchvision.

It is the loader of torchvision's ImageNet example: ImageFolder (Pillow decodes),
RandomResizedCrop and RandomHorizontalFlip, here with uint8 tensors as the result.
"""
# pyright: reportMissingImports=false

import json
import os
import sys
import time

import torch
import torchvision
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder


def cpu_seconds(pids: list[int]) -> float:
    """Sums the processor time of this process and of its workers."""
    total = time.process_time()
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def main() -> None:
    """Times one round and prints it as JSON."""
    data_dir = sys.argv[1]
    workers, batch_size, num_batches, warmup_batches = map(int, sys.argv[2:])
    steps = [
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
    ]
    dataset = ImageFolder(
        os.path.join(data_dir, "train"), transform=transforms.Compose(steps)
    )
    # A few more than are timed, so that the workers are as busy at the end as before.
    num_images = (warmup_batches + num_batches + 2 * workers) * batch_size
    sampler = RandomSampler(dataset, num_samples=num_images)
    loader = DataLoader(
        dataset, batch_size=batch_size, sampler=sampler, num_workers=workers
    )
    stream = iter(loader)
    pids = [worker.pid for worker in stream._workers]
    for _ in range(warmup_batches):
        next(stream)
    start, cpu_start = time.perf_counter(), cpu_seconds(pids)
    for _ in range(num_batches):
        images, _ = next(stream)
        assert images.shape == (batch_size, 3, 224, 224)
        assert images.dtype == torch.uint8
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    result = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": cpu_seconds(pids) - cpu_start,
        "versions": versions,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
