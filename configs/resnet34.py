"""ResNet-34 on ImageNet: He et al. 2015, "Deep Residual Learning", Section 3.4.

Deviations: the rate falls after 5 epochs without a lower validation error (the authors
decided by eye). The mean image is that of the central crops of at most 50,000 training
images. Other data than ImageNet and CIFAR: images are normalised by each channel's mean
and deviation. Table 2 compares plain nets with shortcuts A (34
layers: 25.03 %): --config.model.fields.shortcut=A.
"""

from configs import base


def get_config(data: str = "imagenet2012", name: str = "resnet34", shortcut: str = "B"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = name
    config.model.fields.shortcut = shortcut  # Table 3: B, for 34 layers 24.52 % top-1
    config.model.fields.ceil_mode = False  # pool1; true: as the authors' Caffe files
    config.model.fields.batch_norm = True  # Section 3.4: "right after each convolution"
    config.model.fields.zero_last_scale = False
    config.batch_size = 256  # "a mini-batch size of 256"
    config.epochs = 120.0  # "up to 60 x 10^4 iterations": 119.9 epochs
    config.optim.learning_rate = 0.1  # "starts from 0.1"
    config.optim.schedule = "plateau"  # "when the error plateaus"
    config.optim.patience = 5  # epochs; ours: the authors decided by eye
    config.optim.min_rate = 1e-4  # ours: three times
    config.optim.factor = 0.1  # "divided by 10"
    config.optim.momentum = 0.9
    config.optim.momentum_form = "caffe"  # as the authors' program
    config.optim.weight_decay = 1e-4
    config.data.image_size = 224  # "a 224x224 crop is randomly sampled"
    config.data.train_crop = "scale_jitter_crop"  # "for scale augmentation"
    config.data.scale_min = 256  # "shorter side randomly sampled in [256, 480]"
    config.data.scale_max = 480
    config.data.flip = True  # "or its horizontal flip"
    config.data.pca_noise = 0.1  # "the standard color augmentation in [21]": AlexNet's
    base.subtract_mean_image(config, data)  # "with the per-pixel mean subtracted"
    config.test.protocol = "ten_crop"  # Table 3; Table 4 has multi_scale
    return base.use_data_of_any_size(config, data)
