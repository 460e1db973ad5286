"""The worker of train_step.py for OpenVINO: the forward pass of PyTorch's network.

Needs openvino, torch and torchvision. OpenVINO folds BatchNorm and fuses layers itself.
"""
# pyright: reportMissingImports=false

import openvino
import torch
from train_step_pytorch import make_network
from worker import serve

TYPES = {"float32": openvino.Type.f32, "bf16": openvino.Type.bf16}


def prepare(case: dict):
    """Converts and compiles the network; returns the facts and the pass."""
    torch.manual_seed(0)
    network = make_network(case["network"], case["num_classes"]).eval()
    size = case["image_size"]
    image = torch.randn(case["batch_size"], 3, size, size)
    model = openvino.convert_model(network, example_input=image, input=image.shape)
    # "auto" would choose bfloat16 where the processor has it.
    precision = TYPES[case["precision"]]
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    request = openvino.compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(image.numpy()))
    versions = {"openvino": openvino.__version__, "torch": torch.__version__}
    return {"versions": versions}, {"forward": request.infer}


if __name__ == "__main__":
    serve(prepare)
