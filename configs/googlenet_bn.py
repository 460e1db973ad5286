"""torchvision's googlenet, a GoogLeNet with BatchNorm.

torchvision did not train its weights, which came from TensorFlow. The recipe is from
``resnet50_v1_5``, the weight of the auxiliary heads from Szegedy et al. 2014.
"""

from configs import resnet50_v1_5


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = resnet50_v1_5.get_config(data, "googlenet_bn")
    with config.unlocked():
        config.model.fields = {
            "dropout_rate": 0.2,  # torchvision
            "aux_heads": True,
        }
    config.aux_weight = 0.3  # Section 5: "weighted by 0.3"
    return config
