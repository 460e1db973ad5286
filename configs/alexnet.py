"""AlexNet on ImageNet: Krizhevsky et al. 2012, Sections 4 and 5.

Deviations: the rate falls after 5 epochs without a lower validation error (the authors
decided by eye). The mean image and the axes of the colours are counted from at most
50,000 training images. The mean image is that of the central crops: 227 px, wherever a
training image is cut. Other data than ImageNet and CIFAR: the mean of each
channel is subtracted.
"""

from configs import base


def get_config(data: str = "imagenet2012", name: str = "alexnet"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = name
    config.model.fields.groups = 2  # Section 3.5: on two GPUs, --config.mesh.model=2
    config.model.fields.local_response_norm = True  # Section 3.3
    config.model.fields.norm_across_groups = False  # true: as in Caffe
    config.model.fields.pool_window = 3  # Section 3.4: "s = 2 and z = 3"; or z = 2
    config.model.fields.dropout_rate = 0.5  # Section 4.2
    config.model.fields.initial_bias = 1.0  # Section 5; a short run: 0.1
    config.batch_size = 128  # Section 5
    config.epochs = 90.0  # "roughly 90 cycles"
    config.optim.learning_rate = 0.01  # "initialized at 0.01"
    config.optim.schedule = (
        "plateau"  # "when the validation error rate stopped improving"
    )
    config.optim.patience = 5  # epochs; ours: the authors decided by eye
    config.optim.min_rate = 1e-5  # "reduced three times"
    config.optim.factor = 0.1  # "divide the learning rate by 10"
    config.optim.momentum = 0.9
    config.optim.momentum_form = "caffe"  # the update rule: the rate is inside of v
    config.optim.weight_decay = 5e-4
    config.optim.decay = "kernels"  # the update rule's w; no biases, as in Caffe
    config.data.image_size = 227  # 224 is printed; 227 makes the 55x55 maps
    config.data.train_crop = "square_crop"  # Section 2: "the central 256x256 patch"
    config.data.flip = True  # Section 4.1
    config.data.pca_noise = 0.1  # Section 4.1: "standard deviation 0.1"
    config.data.eval_resize = 256  # "the shorter side was of length 256"
    base.subtract_mean_image(config, data)  # Section 2: "from each pixel"
    config.test.protocol = "ten_crop"  # Section 4.1: "hence ten patches"
    base.use_data_of_any_size(config, data, scales_rate=False)
    config.data.std = (1.0,) * config.data.channels  # Section 2: the mean alone
    return config
