"""Writes goldens.json: outputs of torchvision's networks with weights by formula.

    PYTHON tests/weights/make_goldens.py

This Python needs torch and torchvision; the tests do not. For each network the file
contains the logits of two images in evaluation, and a checksum of the keys and shapes
of the state_dict. For networks with auxiliary heads it also contains all logits of four
images in training, with the batch's statistics in BatchNorm and without dropout.
"""

import json
import sys
import zlib
from pathlib import Path

import torch  # pyright: ignore[reportMissingImports]
import torchvision  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(Path(__file__).parent))
from formula import NUM_CLASSES, images, weight

# Small images save time; a network with a dense layer after a map needs its full size.
IMAGE_SIZES = {
    **dict.fromkeys(["alexnet", "vgg11", "vgg13", "vgg16", "vgg19"], 224),
    **dict.fromkeys(["vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"], 224),
    **dict.fromkeys(["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"], 64),
    "googlenet": 96,
    "inception_v3": 299,
}
OPTIONS = {"init_weights": False, "dropout": 0.0}
AUX = {
    "googlenet": OPTIONS | {"aux_logits": True, "dropout_aux": 0.0},
    "inception_v3": OPTIONS,
}


def run(name: str, image_size: int) -> dict:
    """Builds a network, fills it with weights by formula and runs it."""
    make = getattr(torchvision.models, name)
    model = make(num_classes=NUM_CLASSES, **AUX.get(name, {}))
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    for key, tensor in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(weight(key, shapes[key])))

    def forward(count: int):
        batch = torch.from_numpy(images(image_size, count)).permute(0, 3, 1, 2)
        with torch.no_grad():
            return model(batch.contiguous())

    model.eval()
    golden = {
        "image_size": image_size,
        "keys": zlib.crc32(repr(sorted(shapes.items())).encode()),
        "logits": forward(2).tolist(),
    }
    if name in AUX:
        model.train()
        heads = forward(4)._asdict()  # logits; aux_logits, or aux_logits2 and 1
        golden["train"] = {key: logits.tolist() for key, logits in heads.items()}
    return golden


if __name__ == "__main__":
    goldens = {"torchvision": torchvision.__version__}
    for name, image_size in IMAGE_SIZES.items():
        goldens[name] = run(name, image_size)
        print(name)
    path = Path(__file__).with_name("goldens.json")
    path.write_text(json.dumps(goldens) + "\n")
