"""Stacks of 3x3 convolutions, or larger kernels, on CIFAR-10, with ResNet-20's recipe.

Deviation: no paper has this network, which is for the lectures' claim on small kernels.
"""

from configs import resnet20


def get_config(data: str = "cifar10"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = resnet20.get_config(data, "kernel_stacks")
    with config.unlocked():
        config.model.fields = {
            # VGG's Section 2.3: (3, 3, 3) or 7, (3, 3) or 5.
            "kernel_sizes": (3, 3, 3),
            # Times 32 maps; ours. With 7, 0.75 gives as many multiply-adds, within 2 %.
            "width": 1.0,
        }
    return config
