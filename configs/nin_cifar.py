"""Network in Network on CIFAR-10: Lin et al. 2013, Section 4.1.

Deviations: the numbers of the whitening are counted from the images that we train on,
without those for validation. Learning rate and weight decay are ours: the paper sets
them by hand and does not print them.
"""

from configs import base


def get_config(data: str = "cifar10"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = "nin_cifar"
    config.model.fields.dropout_rate = 0.5  # Section 4.1, after the first two mlpconvs
    config.batch_size = 128  # "mini-batches of size 128"
    config.epochs = 150.0  # ours
    config.optim.learning_rate = 0.01  # ours
    config.optim.schedule = "step"
    config.optim.milestones = (100.0, 125.0)  # ours; "once more", to "one percent"
    config.optim.factor = 0.1  # "lowered by a scale of 10"
    config.optim.momentum = 0.9
    config.optim.weight_decay = 1e-4  # ours
    config.optim.decay = "kernels"  # ours
    config.data.image_size = 32
    # Section 4.1: "global contrast normalization and ZCA whitening", as in maxout.
    config.data.normalisation = "gcn_zca"
    # Section 4.1: "translation and horizontal flipping".
    return base.use_small_images(config, data)
