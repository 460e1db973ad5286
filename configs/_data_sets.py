"""The data sets for recipes: the part of ``--config`` after the colon."""

# The settings that each data set changes; a recipe may change them again.
DATA = {
    "mnist5k": {
        "source": "mnist5k",
        "name": "mnist5k",
        "image_size": 28,
        "channels": 1,
        "pca_noise": 0.0,  # no colours
        "num_classes": 10,
        "eval_resize": 28,  # for a user's own digits
        "validation_fraction": 0.125,  # 500 of the 4,000 training images
        "in_memory": True,
        "train_crop": "affine",
        "flip": False,  # mirroring changes a digit's meaning
        "mean": (33.3,),  # of 0..255, d2l and torchvision's MNIST example: 0.1307
        "std": (78.6,),  # 0.3081
    },
    "mnist": {
        "source": "mnist",
        "name": "mnist",
        "image_size": 28,
        "channels": 1,
        "pca_noise": 0.0,  # no colours
        "num_classes": 10,
        "eval_resize": 28,
        "validation_fraction": 0.02,  # papers train on all 60,000
        "in_memory": True,
        "train_crop": "none",  # what papers report first
        "flip": False,
        "mean": (33.3,),  # as mnist5k's
        "std": (78.6,),
    },
    "fashion_mnist": {
        "source": "fashion_mnist",
        "name": "fashion_mnist",
        "image_size": 28,
        "channels": 1,
        "pca_noise": 0.0,  # no colours
        "num_classes": 10,
        "eval_resize": 28,
        "in_memory": True,
        "train_crop": "pad_crop",
        "crop_padding": 2,
        "flip": True,
        "mean": (72.9,),  # of 0..255, counted over the 60,000 training images
        "std": (90.0,),
    },
    "cifar10": {
        "source": "tfds",
        "name": "cifar10",
        "image_size": 32,
        "channels": 3,
        "num_classes": 10,
        "eval_resize": 32,
        "in_memory": True,
        "train_crop": "pad_crop",  # He et al. 2015, Section 4.2: pad 4, crop, flip
        "crop_padding": 4,
        "flip": True,
        "mean": (125.3, 123.0, 113.9),  # of 0..255, over the training images
        "std": (63.0, 62.1, 66.7),
    },
    "cifar100": {
        "source": "tfds",
        "name": "cifar100",  # its 100 fine classes
        "image_size": 32,
        "channels": 3,
        "num_classes": 100,
        "eval_resize": 32,
        "in_memory": True,
        "train_crop": "pad_crop",  # as cifar10's
        "crop_padding": 4,
        "flip": True,
        # Of 0..255, over the training images: 0.5071, 0.4865, 0.4409 and 0.2673,
        # 0.2564, 0.2762 of 0..1 (github.com/weiaicunzai/pytorch-cifar100, conf).
        "mean": (129.3, 124.1, 112.4),
        "std": (68.2, 65.4, 70.4),
    },
    "imagenet2012": {
        "source": "tfds",
        "name": "imagenet2012",
        "num_classes": 1000,
        "test_split": "validation",  # the 50,000 images that papers report on
        "validation_fraction": 0.01,  # of train, to choose the best checkpoint
        # Neither torchvision's references (PIL's convert("RGB")) nor TensorFlow's
        # decode_jpeg turn an image by its Exif orientation.
        "pixels": "stored",
    },
    "folder": {"source": "folder", "name": "folder"},
    # What :folder is if the folder has 100,000 images or more: recipes for ImageNet
    # keep their length, batch size and learning rate.
    "large_folder": {"source": "folder", "name": "folder"},
}
FOLDERS = ("folder", "large_folder")
GRAY = ("mnist5k", "mnist", "fashion_mnist")  # of 28 px
SMALL_IMAGES = (*GRAY, "cifar10", "cifar100")  # of 28 or 32 px
MEAN_IMAGES = ("imagenet2012", "cifar10", "cifar100")  # the papers' own
