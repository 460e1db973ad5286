"""The worker of train_step.py for PyTorch; needs torch and torchvision.

torchvision has most networks; the grouped AlexNet of 2012 and the residual networks for
CIFAR-10 are written below. Channels last, SGD with momentum and L2.
"""
# pyright: reportMissingImports=false

import torch
import torchvision
from torch import nn
from torch.nn import functional
from worker import serve

TORCHVISION = {
    "alexnet_owt": "alexnet",
    "vgg16": "vgg16",
    "googlenet_bn": "googlenet",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut without parameters (option A)."""

    def __init__(self, channels: int, width: int, stride: int):
        """Makes the block for ``channels`` of input and ``width`` of output."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.new_channels = width - channels

    def forward(self, x):
        """Maps [B, channels, H, W] to [B, width, H / stride, W / stride]."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.new_channels:
            x = x[:, :, :: self.stride, :: self.stride]
            x = functional.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return functional.relu(y + x, inplace=True)


def cifar_resnet(depth: int, num_classes: int) -> nn.Module:
    """Makes the network of He et al. 2015, Section 4.2."""
    layers = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    channels = 16
    for width in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            layers.append(BasicBlock(channels, width, 1 if width == channels else 2))
            channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes)]
    return nn.Sequential(*layers)


def alexnet(num_classes: int) -> nn.Module:
    """Makes the network of Krizhevsky et al. 2012, with its two groups."""

    def conv(channels: int, features: int, size: int, **fields):
        return [nn.Conv2d(channels, features, size, **fields), nn.ReLU(inplace=True)]

    def norm_and_pool():
        # PyTorch divides alpha by the number of maps.
        norm = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
        return [norm, nn.MaxPool2d(3, 2)]

    def dense(units: int):
        return [nn.Linear(units, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5)]

    return nn.Sequential(
        *conv(3, 96, 11, stride=4),
        *norm_and_pool(),
        *conv(96, 256, 5, padding=2, groups=2),
        *norm_and_pool(),
        *conv(256, 384, 3, padding=1),
        *conv(384, 384, 3, padding=1, groups=2),
        *conv(384, 256, 3, padding=1, groups=2),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),
        *dense(256 * 6 * 6),
        *dense(4096),
        nn.Linear(4096, num_classes),
    )


def make_network(name: str, num_classes: int) -> nn.Module:
    """Makes a network of train_step.py's list."""
    if name == "alexnet":
        return alexnet(num_classes)
    if name in TORCHVISION:
        # torchvision's initialisation of googlenet takes a minute.
        fields = {"init_weights": False} if name == "googlenet_bn" else {}
        make = getattr(torchvision.models, TORCHVISION[name])
        return make(num_classes=num_classes, **fields)
    return cifar_resnet(int(name.removeprefix("resnet")), num_classes)


def loss_of(outputs, label: torch.Tensor) -> torch.Tensor:
    """Returns the cross-entropy; GoogLeNet's heads are weighted as in its paper."""
    if isinstance(outputs, torch.Tensor):
        return functional.cross_entropy(outputs, label)
    losses = [functional.cross_entropy(head, label) for head in outputs]
    return losses[0] + 0.3 * losses[1] + 0.3 * losses[2]


def open_device() -> str:
    """Returns the device's kind; on a GPU, sets what XLA does without being asked."""
    if not torch.cuda.is_available():
        return "cpu"
    torch.set_float32_matmul_precision("high")  # TF32
    torch.backends.cudnn.benchmark = True  # algorithms are chosen by their time
    return "cuda"


def facts_of(device: str) -> dict:
    """Returns the facts for the file of results."""
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    facts = {"versions": versions, "threads": torch.get_num_threads()}
    if device == "cuda":
        facts["device"] = torch.cuda.get_device_name()
        facts["peak_bytes"] = torch.cuda.max_memory_allocated
    return facts


def prepare(case: dict):
    """Makes the network and its optimizer; returns the facts and the passes."""
    torch.manual_seed(0)
    device = open_device()
    model = make_network(case["network"], case["num_classes"])
    model = model.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
    )
    compiled = torch.compile(model) if case["compiled"] else model
    size = case["image_size"]
    image = torch.randn(case["batch_size"], 3, size, size, device=device)
    image = image.contiguous(memory_format=torch.channels_last)
    label = torch.randint(case["num_classes"], (case["batch_size"],), device=device)
    is_bf16 = case["precision"] == "bf16"

    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def autocast():
        return torch.autocast(device, torch.bfloat16, enabled=is_bf16)

    def train() -> None:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = loss_of(compiled(image), label)
        loss.backward()
        optimizer.step()
        wait()

    def forward() -> None:
        model.eval()
        with torch.inference_mode(), autocast():
            compiled(image)
        wait()

    dtype = torch.bfloat16 if is_bf16 else torch.float32
    square = torch.ones(case["matmul_size"], case["matmul_size"], dtype=dtype)
    square = square.to(device)

    def matmul() -> None:
        torch.mm(square, square)
        wait()

    return facts_of(device), {"train": train, "forward": forward, "matmul": matmul}


if __name__ == "__main__":
    serve(prepare)
