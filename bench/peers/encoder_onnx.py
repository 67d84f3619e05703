"""Exports an encoder (a directory that transformers loads) as winnow reads it: its small files and onnx/model.onnx.

    python encoder_onnx.py MODEL OUT

As optimum exports for feature extraction: TorchScript, inputs input_ids, attention_mask and token_type_ids, output last_hidden_state, batch and length
dynamic, float32, no graph optimisation. Attention is the plain one (`eager`), which is what the exports on the hub hold.
"""

import os
import shutil
import sys
import warnings

import torch
from transformers import AutoModel


class HiddenStates(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *inputs):
        return self.model(**dict(zip(INPUTS, inputs))).last_hidden_state


INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def export(source, out):
    os.makedirs(os.path.join(out, "onnx"), exist_ok=True)
    model = AutoModel.from_pretrained(source, attn_implementation="eager").eval()
    ids = torch.ones(2, 8, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in [*INPUTS, "last_hidden_state"]}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            HiddenStates(model), (ids, mask, torch.zeros_like(ids)), os.path.join(out, "onnx", "model.onnx"), input_names=INPUTS,
            output_names=["last_hidden_state"], dynamic_axes=axes, opset_version=17, do_constant_folding=True, dynamo=False,
        )  # fmt: skip
    for root, _, names in os.walk(source):
        place = os.path.join(out, os.path.relpath(root, source))
        for name in names:
            if name.endswith(".json"):
                os.makedirs(place, exist_ok=True)
                shutil.copy(os.path.join(root, name), os.path.join(place, name))


if __name__ == "__main__":
    export(sys.argv[1], sys.argv[2])
