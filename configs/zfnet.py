"""ZFNet on ImageNet: Zeiler and Fergus 2013, Section 3.1.

Deviations: the rate falls after 5 epochs without a lower validation error (the paper:
"annealed ... manually when the validation error plateaus"). The mean image is that of
the central crops of at most 50,000 training images. Other data than
ImageNet and CIFAR: the mean of each channel is subtracted.
"""

from configs import base


def get_config(data: str = "imagenet2012", name: str = "zfnet"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = name
    config.model.fields.dropout_rate = 0.5  # Section 3.1
    config.batch_size = 128  # "a mini-batch size of 128"
    config.epochs = 70.0  # "stopped training after 70 epochs"
    config.optim.learning_rate = 0.01  # "starting with a learning rate of 10^-2"
    config.optim.schedule = "plateau"  # "when the validation error plateaus"
    config.optim.patience = 5  # epochs; ours: the authors decided by eye
    config.optim.min_rate = 1e-5  # ours: three times, as AlexNet
    config.optim.factor = 0.1  # ours, AlexNet's
    config.optim.momentum = 0.9  # "a momentum term of 0.9"
    config.optim.momentum_form = "caffe"  # as cuda-convnet, the authors' program
    config.optim.filter_radius = 0.1  # "whose RMS value exceeds ... 10^-1"
    config.optim.weight_decay = 5e-4  # AlexNet's; the paper names none
    config.optim.decay = "kernels"  # as AlexNet's
    config.data.image_size = 224
    config.data.train_crop = "ten_crop"  # "10 different sub-crops", of the square
    config.data.eval_resize = 256  # "resizing the smallest dimension to 256"
    config.data.flip = True  # "with(out) horizontal flips"
    base.subtract_mean_image(config, data)  # "the per-pixel mean (across all images)"
    config.test.protocol = "ten_crop"  # AlexNet's, whose errors Table 2 compares
    base.use_data_of_any_size(config, data, scales_rate=False)
    config.data.std = (1.0,) * config.data.channels  # the mean alone is subtracted
    return config
