"""torchvision's googlenet, a GoogLeNet with BatchNorm.

Its weights came from TensorFlow and were not trained by torchvision: the recipe is that
of ``resnet50_v1_5``, with the weight of the auxiliary heads in Szegedy et al. 2014.
"""

from configs import resnet50_v1_5


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = resnet50_v1_5.get_config(data, "googlenet_bn")
    with config.unlocked():
        config.model.fields.dropout_rate = 0.2  # torchvision
        config.model.fields.aux_heads = True
    config.aux_weight = 0.3  # Section 5: "weighted by 0.3"
    return config
