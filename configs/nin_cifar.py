"""Network in Network on CIFAR-10: Lin et al. 2013, Section 4.1.

The paper sets the numbers by hand and does not print them: "solver" is that of the
authors' Caffe model, "README" that of their files for cuda-convnet. Deviation: the
numbers of the whitening are counted from the images that we train on, without those for
validation.
"""

from configs import base


def get_config(data: str = "cifar10"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = "nin_cifar"
    config.model.fields.dropout_rate = 0.5  # Section 4.1, after the first two mlpconvs
    config.model.fields.head = "average"  # Section 4.6: or dense
    config.model.fields.head_dropout_rate = 0.0  # with head=dense: 0 or 0.5
    config.batch_size = 128  # "mini-batches of size 128"
    config.epochs = 260.0  # README: 200, 30 and 30
    config.optim.learning_rate = 0.1  # solver: base_lr
    config.optim.schedule = "step"
    config.optim.milestones = (200.0, 230.0)  # README; "once more", to "one percent"
    config.optim.factor = 0.1  # "lowered by a scale of 10"
    config.optim.momentum = 0.9  # solver
    config.optim.momentum_form = "caffe"
    config.optim.weight_decay = 1e-4  # solver
    config.optim.decay = "kernels"  # the model: decay_mult 0 for biases
    config.optim.bias_rate = 2.0  # the model: lr_mult 2 for biases
    config.data.image_size = 32
    config.test.protocol = "whole"  # the model's test layer
    # Section 4.1: "global contrast normalization and ZCA whitening", as in maxout.
    config.data.normalisation = "gcn_zca"
    # Section 4.1: "translation and horizontal flipping".
    return base.use_small_images(config, data)
