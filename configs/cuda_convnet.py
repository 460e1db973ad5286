"""The four-layer network on CIFAR-10: Krizhevsky et al. 2012, Sections 3.1 and 3.3.

The paper's footnote refers to cuda-convnet: "def" is its layers-conv-local-11pct.cfg,
"params" its layer-params-conv-local-11pct.cfg. The network without normalisation (13 %)
is --config.model.fields.local_response_norm=false --config.model.fields.local3_width=32
of layers-conv-local-13pct.cfg, for 160 epochs: --config.epochs=160
--config.optim.milestones="(140, 150)", falls before the last two times 10.

Deviations: all kernels decay by 0.004, while params has 0 in conv1 and conv2 and 0.01
in fc10. A tenth of the training images validates to the end; the author trained on it,
too, for the last 170 of 520 epochs. Other data than CIFAR: the mean of each channel is
subtracted, not of each pixel.
"""

from configs import base


def get_config(data: str = "cifar10"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = "cuda_convnet"
    config.model.fields.local_response_norm = True  # def: "type=cmrnorm"
    config.model.fields.local3_width = 64  # def: "filters=64"
    config.model.fields.activation = "relu"  # def: "neuron=relu"; Section 3.1: or tanh
    config.model.fields.pool_window = 3  # def: "sizeX=3"; Section 3.4: or 2
    config.batch_size = 128  # convnet.py: "Minibatch size", default=128
    config.epochs = 520.0  # params: "about 350", "about 150 more", "10 more", "10 more"
    config.optim.learning_rate = 0.001  # params: epsW=0.001
    config.optim.schedule = "step"
    config.optim.milestones = (500.0, 510.0)  # params: before the last two times 10
    config.optim.factor = 0.1  # params: "by a factor of 10"
    config.optim.momentum = 0.9  # params: momW=0.9
    config.optim.momentum_form = "caffe"  # cuda-convnet's
    config.optim.bias_rate = 2.0  # params: epsB=0.002
    config.optim.weight_decay = 0.004  # params: wc=0.004 in local3 and local4
    config.optim.decay = "kernels"  # params has no decay of biases
    if data in base.GRAY:  # whole images
        config.data.image_size = 28
        config.test.protocol = "whole"
        base.use_small_images(config, data)
    else:
        # Methodology (cuda-convnet's wiki): "random 24x24 patches extracted from the
        # 32x32 CIFAR-10 images"; the patches are mirrored at random (convdata.py).
        base.use_data(
            config,
            data,
            image_size=24,
            train_crop="scale_jitter_crop",
            scale_min=32,
            scale_max=32,
            eval_resize=32,
            in_memory=False,  # an epoch has other patches
        )
        config.test.protocol = "ten_crop"  # "--multiview-test=1"
    base.subtract_mean_image(config, data)  # convdata.py: the central 24 px of the mean
    config.data.std = (1.0,) * config.data.channels  # convdata.py: the mean alone
    return config
