"""The papers' numbers for training: what each recipe must say on its own data.

A value that a paper or its authors' file prints is here a second time, so that a change
of a default, or of a recipe that others build on, cannot change a paper.
"""

from typing import Any

Recipe = dict[str, Any]  # settings by their keys

PLATEAU = {"optim.schedule": "plateau", "optim.factor": 0.1, "optim.momentum": 0.9}
CAFFE = {"optim.momentum_form": "caffe", "optim.name": "sgd", "optim.nesterov": False}
KERNELS = {"optim.decay": "kernels"}
PCA = {"data.pca_noise": 0.1, "data.pca": ()}
MEAN_IMAGE, CHANNELS = (
    {"data.normalisation": name} for name in ("mean_image", "channels")
)

# Krizhevsky et al. 2012, Sections 2, 4.1, 4.2 and 5.
ALEXNET: Recipe = PLATEAU | CAFFE | KERNELS | PCA | MEAN_IMAGE
ALEXNET |= {"batch_size": 128, "epochs": 90.0, "optim.learning_rate": 0.01}
ALEXNET |= {"optim.weight_decay": 5e-4, "data.std": (1.0,) * 3}
ALEXNET |= {"data.train_crop": "square_crop", "data.eval_resize": 256}
ALEXNET |= {"data.flip": True}
# The rate can fall three times.
ALEXNET |= {"optim.min_rate": 1e-5, "model.fields.dropout_rate": 0.5}

# Zeiler and Fergus 2013, Section 3.1.
ZFNET = {
    **ALEXNET,
    "data.train_crop": "ten_crop",
    "epochs": 70.0,
    "data.pca_noise": 0.0,
    "optim.filter_radius": 0.1,
}

# Simonyan and Zisserman 2014, Section 3.1; Table 3 has S of A, A-LRN and B.
VGG = {**ALEXNET, **CHANNELS, "batch_size": 256, "epochs": 74.0}
VGG |= {"data.train_crop": "scale_jitter_crop", "data.scale_min": 256}
VGG |= {"data.scale_max": 512}
VGG_SMALL = VGG | {"data.scale_max": 256}

# He et al. 2015, Sections 3.4 and 4.2.
RESNET: Recipe = PLATEAU | CAFFE | PCA | MEAN_IMAGE | {"optim.decay": "all"}
RESNET |= {"batch_size": 256, "epochs": 120.0, "optim.learning_rate": 0.1}
RESNET |= {"optim.weight_decay": 1e-4, "data.scale_min": 256, "data.scale_max": 480}
CIFAR_RESNET: Recipe = CAFFE | {"batch_size": 128, "optim.learning_rate": 0.1}
CIFAR_RESNET |= {"optim.schedule": "step", "optim.factor": 0.1, "optim.decay": "all"}
CIFAR_RESNET |= {"optim.weight_decay": 1e-4, "data.train_crop": "pad_crop"}
CIFAR_RESNET |= {"data.crop_padding": 4, "data.flip": True, "optim.start_error": 0.0}
CIFAR_RESNET |= {"steps": 64_000, "optim.milestones": (32_000, 48_000)}
CIFAR_RESNET |= {"optim.warmup_epochs": 0.0, **MEAN_IMAGE}
SLOW_START = {**CIFAR_RESNET, "optim.start_error": 80.0, "optim.start_rate": 0.01}

# The first author's Caffe model: solver.prototxt and train_val.prototxt.
NIN: Recipe = CAFFE | KERNELS | {"batch_size": 64, "optim.factor": 0.1}
NIN |= {"steps": 450_000, "optim.milestones": (200_000, 400_000)}
NIN |= {"optim.learning_rate": 0.01}
NIN |= {"optim.weight_decay": 5e-4, "optim.bias_rate": 2.0, "optim.momentum": 0.9}
NIN_CIFAR = {
    **NIN,
    "steps": 0,
    "batch_size": 128,
    "epochs": 260.0,
    "optim.learning_rate": 0.1,
}
NIN_CIFAR |= {"optim.milestones": (200.0, 230.0), "optim.weight_decay": 1e-4}

# Szegedy et al. 2014, Sections 5 and 6; BVLC's quick_solver.prototxt, solver.prototxt.
GOOGLENET: Recipe = CAFFE | KERNELS | {"batch_size": 32, "optim.learning_rate": 0.01}
GOOGLENET |= {"optim.momentum": 0.9, "optim.weight_decay": 2e-4, "aux_weight": 0.3}
GOOGLENET |= {"optim.bias_rate": 2.0, "optim.average": "polyak", "data.min_area": 0.08}
QUICK = {"steps": 2_400_000, "optim.schedule": "polynomial", "optim.power": 0.5}
SLOW = {"steps": 10_000_000, "optim.schedule": "exponential", "optim.factor": 0.96}
SLOW |= {"optim.fall_every": 320_000.0, "optim.min_rate": 0.0}

# Szegedy et al. 2015, Section 8, and TF-Slim.
INCEPTION: Recipe = KERNELS | {"optim.name": "rmsprop", "optim.beta2": 0.9}
INCEPTION |= {"optim.epsilon": 1.0, "optim.epsilon_in_root": True}
INCEPTION |= {"optim.momentum": 0.9, "optim.momentum_form": "caffe", "batch_size": 32}
INCEPTION |= {"epochs": 100.0, "optim.learning_rate": 0.045, "optim.factor": 0.94}
INCEPTION |= {"optim.schedule": "exponential", "optim.fall_every": 2.0}
INCEPTION |= {"optim.weight_decay": 4e-5, "label_smoothing": 0.1, "aux_weight": 0.4}
INCEPTION |= {"optim.average": "ema", "optim.average_decay": 0.9999}
INCEPTION |= {"model.fields.dropout_rate": 0.2, "optim.clip_norm": 0.0}

# cuda-convnet's layer-params-conv-local-11pct.cfg.
CUDA_CONVNET: Recipe = CAFFE | KERNELS | {"batch_size": 128, "epochs": 520.0}
CUDA_CONVNET |= {"optim.learning_rate": 0.001, "optim.bias_rate": 2.0}
CUDA_CONVNET |= {"optim.milestones": (500.0, 510.0), "optim.factor": 0.1}
CUDA_CONVNET |= {"optim.momentum": 0.9, "data.image_size": 24, **MEAN_IMAGE}

# torchvision's command for ResNet50_Weights.IMAGENET1K_V2, pytorch/vision issue 3995.
IMAGENET1K_V2: Recipe = KERNELS | {"batch_size": 1024, "epochs": 600.0}
IMAGENET1K_V2 |= {"optim.learning_rate": 0.5, "optim.schedule": "cosine"}
IMAGENET1K_V2 |= {"optim.warmup_epochs": 5.0, "optim.weight_decay": 2e-5}
IMAGENET1K_V2 |= {"optim.name": "sgd", "optim.momentum": 0.9, "optim.nesterov": False}
IMAGENET1K_V2 |= {"optim.momentum_form": "pytorch", "label_smoothing": 0.1}
IMAGENET1K_V2 |= {"optim.average": "ema", "data.image_size": 176}
IMAGENET1K_V2 |= {"data.eval_resize": 232, "data.eval_size": 224, "data.repeats": 4}
IMAGENET1K_V2 |= {"data.trivial_augment": True, "data.erasing": 0.1}
IMAGENET1K_V2 |= {"data.mixup": 0.2, "data.cutmix": 1.0, "loss": "cross_entropy"}
IMAGENET1K_V2 |= {"model.name": "resnet50_v1_5", "data.interpolation": "bilinear"}

RECIPES: dict[str, Recipe] = {
    "alexnet": ALEXNET,
    "alexnet_one_tower": ALEXNET,
    "zfnet": ZFNET,
    "zfnet_wide": ZFNET,
    **dict.fromkeys(("vgg11", "vgg11_lrn", "vgg13"), VGG_SMALL),
    **dict.fromkeys(("vgg16", "vgg16_c", "vgg19"), VGG),
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101"), RESNET),
    **dict.fromkeys(("resnet152", "plain18", "plain34"), RESNET),
    **dict.fromkeys(("resnet20", "resnet32", "resnet44", "resnet56"), CIFAR_RESNET),
    **dict.fromkeys(("plain20", "plain32", "plain44", "plain56"), CIFAR_RESNET),
    "resnet110": SLOW_START,
    "resnet1202": SLOW_START,
    "cuda_convnet": CUDA_CONVNET,
    "googlenet": GOOGLENET | QUICK,
    "googlenet_slow": GOOGLENET | SLOW,
    "nin": NIN,
    "nin_cifar": NIN_CIFAR,
    "inception_v3": INCEPTION | {"optim.clip_norm": 2.0},
    "inception_v4": INCEPTION,
    "resnet50_imagenet1k_v2": IMAGENET1K_V2,
}
