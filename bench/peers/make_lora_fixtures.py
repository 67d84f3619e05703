"""Reference values for low-rank adapters from PEFT, over the models that make_fixtures.py has made.

    python make_lora_fixtures.py MODELS OUT      (MODELS: test/fixtures/models, OUT: test/fixtures/training)

Writes OUT/lora-NAME.safetensors: rank 2, alpha 6, on every linear layer of the blocks; both factors random, so that all gradients are. Holds
  start.PARAMETER       the adapters, with the names that PEFT saves them under
  gradient.PARAMETER    of the mean NLL of the first batch of NAME/training.json
  logits                of that batch, [batch, length, vocab]
  losses                before each of 20 steps of AdamW on the adapters alone (rate 3e-3, betas 0.9 and 0.95, eps 1e-8, no decay, no clipping)
  merged.WEIGHT         the adapted weights of the first layer after merging, in the checkpoint's layout
"""

import json
import os
import sys

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

VARIANTS = {
    "llama-gqa": dict(target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    "gpt-neox": dict(target_modules=["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]),
    "gpt2": dict(target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True),
}
RANK, ALPHA, STEPS = 2, 6, 20


def adapted(folder, options, seed):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", **options)
    model = get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def write(name, options, models, out, seed):
    folder = os.path.join(models, name)
    with open(os.path.join(folder, "training.json")) as file:
        batches = json.load(file)["batches"][:STEPS]
    model = adapted(folder, options, seed)
    start = {key: value.clone() for key, value in get_peft_model_state_dict(model).items()}
    saved_name = lambda key: key.replace(".default", "")
    trained = {saved_name(key): p for key, p in model.named_parameters() if p.requires_grad}
    assert set(trained) == set(start), set(trained) ^ set(start)
    optimizer = torch.optim.AdamW(trained.values(), lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    losses, tensors = [], {}
    for step, batch in enumerate(batches):
        output = model(input_ids=torch.tensor(batch["ids"]), labels=torch.tensor(batch["labels"]))
        output.loss.backward()
        losses.append(output.loss.item())
        if step == 0:
            tensors["logits"] = output.logits.detach()
            tensors |= {f"gradient.{key}": p.grad.clone() for key, p in trained.items()}
        optimizer.step()
        optimizer.zero_grad()
    tensors |= {f"start.{key}": value for key, value in start.items()}
    tensors["losses"] = torch.tensor(losses)
    merged = adapted(folder, options, seed).merge_and_unload().state_dict()
    before = load_file(os.path.join(folder, "model.safetensors"))
    tensors |= {
        f"merged.{key}": merged[key] for key, value in before.items() if ".0." in key and not torch.equal(merged[key], value)
    }
    save_file({key: value.contiguous() for key, value in tensors.items()}, os.path.join(out, f"lora-{name}.safetensors"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for index, (name, options) in enumerate(VARIANTS.items()):
        write(name, options, sys.argv[1], sys.argv[2], seed=100 + index)
