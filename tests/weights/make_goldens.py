"""Writes goldens.json: what torchvision's networks make of weights by formula.

    PYTHON tests/weights/make_goldens.py

PYTHON is one with torch and torchvision, which the tests do without. For each network:
the logits of two images in evaluation; where there are auxiliary heads, their logits
for four images in training, when BatchNorm takes the batch's statistics, without
dropout; and the keys and shapes of the whole state_dict, as a checksum.
"""

import json
import sys
import zlib
from pathlib import Path

import torch  # pyright: ignore[reportMissingImports]
import torchvision  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(Path(__file__).parent))
from formula import NUM_CLASSES, images, weight

# Sizes that spare time, where the network has no dense layer behind a map.
IMAGE_SIZES = {
    **dict.fromkeys(["alexnet", "vgg11", "vgg13", "vgg16", "vgg19"], 224),
    **dict.fromkeys(["vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"], 224),
    **dict.fromkeys(["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"], 64),
    "googlenet": 96,
    "inception_v3": 299,
}
AUX = {
    "googlenet": {
        "aux_logits": True,
        "init_weights": False,
        "dropout": 0.0,
        "dropout_aux": 0.0,
    },
    "inception_v3": {"init_weights": False, "dropout": 0.0},
}


def run(name: str, image_size: int) -> dict:
    """Builds a network, fills it by the formula and runs it."""
    options = AUX.get(name, {})
    model = getattr(torchvision.models, name)(num_classes=NUM_CLASSES, **options)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    state_dict = {
        key: torch.zeros((), dtype=torch.long)
        if key.endswith("num_batches_tracked")
        else torch.from_numpy(weight(key, shape))
        for key, shape in shapes.items()
    }
    model.load_state_dict(state_dict)

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
        heads = forward(4)._asdict()  # logits, and aux_logits or aux_logits2 and 1
        golden["train"] = {key: logits.tolist() for key, logits in heads.items()}
    return golden


if __name__ == "__main__":
    goldens = {"torchvision": torchvision.__version__}
    for name, image_size in IMAGE_SIZES.items():
        goldens[name] = run(name, image_size)
        print(name)
    path = Path(__file__).with_name("goldens.json")
    path.write_text(json.dumps(goldens) + "\n")
