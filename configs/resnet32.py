"""ResNet-32 on CIFAR-10 (He et al. 2015, Section 4.2), with ResNet-20's recipe."""

from configs import resnet20


def get_config(data: str = "cifar10"):
    """Returns the recipe; ``data`` is what follows the colon."""
    return resnet20.get_config(data, "resnet32")
