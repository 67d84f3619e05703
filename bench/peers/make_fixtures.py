"""Reference values for winnow's models from transformers' LlamaForCausalLM, random weights, f32.

    python make_fixtures.py OUT        writes OUT/llama-gqa/ and OUT/llama-mha/   (OUT: test/fixtures/models)

Each folder: config.json and model.safetensors as transformers saves them (tied embeddings), and
  reference.safetensors   ids [batch, length] and labels [batch, length] (int64; -100 = no loss), logits [batch, length,
                          vocab], nll [batch] (mean NLL of each row's labels), gradient.NAME for every parameter: of the
                          mean NLL over all labels of the batch
  training.json           AdamW from the same weights, 20 steps: the batches, the options and the loss before each step
                          for three recipes (plain; decoupled weight decay on matrices; decay, clipping, warm-up + cosine),
                          and the Euclidean norm of every parameter after the last step
Label t is predicted from position t - 1; a label at position 0 counts for nothing. Rows end at different lengths: the rest is
padding (id 0, no label, to the right, so the causal mask needs no help).
"""

import json
import math
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

VARIANTS = {
    "llama-gqa": dict(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2),
    "llama-mha": dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4),
}
VOCAB, BATCH, LENGTH, STEPS = 97, 3, 12, 20
ADAMW = dict(lr=3e-3, betas=[0.9, 0.95], eps=1e-8)
RECIPES = {
    "plain": dict(weight_decay=0.0, clip=None, schedule="constant"),
    "decay": dict(weight_decay=0.1, clip=None, schedule="constant"),
    "full": dict(weight_decay=0.1, clip=1.0, schedule="warmup-cosine", warmup=4),
}


def make_model(shape, seed):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCAB, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=True,
        attn_implementation="sdpa", use_cache=False, initializer_range=0.2, **shape,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model.eval()


def make_batch(generator, batch=BATCH):
    """Random tokens; row r has 2 + r prompt tokens and is cut at a length of its own."""
    ids = torch.randint(1, VOCAB, (batch, LENGTH), generator=generator)
    labels = ids.clone()
    for row in range(batch):
        end = LENGTH - 2 * row
        labels[row, : 2 + row] = -100
        labels[row, end:] = -100
        ids[row, end:] = 0
    return ids, labels


def row_nll(logits, labels):
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="none"
    ).view(labels.shape[0], -1)
    return losses.sum(1) / (labels[:, 1:] != -100).sum(1)


def rate(recipe, step):
    """Learning rate of 0-based `step`: linear warm-up over `warmup` steps, then cosine to 0 at the last step + 1."""
    if recipe["schedule"] == "constant":
        return ADAMW["lr"]
    if step < recipe["warmup"]:
        return ADAMW["lr"] * (step + 1) / recipe["warmup"]
    return ADAMW["lr"] * 0.5 * (1 + math.cos(math.pi * (step - recipe["warmup"]) / (STEPS - recipe["warmup"])))


def train(model, recipe, batches):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [dict(params=matrices, weight_decay=recipe["weight_decay"]), dict(params=vectors, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=ADAMW["lr"], betas=tuple(ADAMW["betas"]), eps=ADAMW["eps"])
    losses, rates, norms = [], [], []
    for step, (ids, labels) in enumerate(batches):
        rates.append(rate(recipe, step))
        for group in optimizer.param_groups:
            group["lr"] = rates[-1]
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), recipe["clip"] or math.inf).item())
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    final = {name: p.detach().norm().item() for name, p in model.named_parameters()}
    return recipe | dict(losses=losses, learning_rates=rates, gradient_norms=norms, final_norms=final)


def write(folder, shape, seed):
    os.makedirs(folder, exist_ok=True)
    model = make_model(shape, seed)
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "generation_config.json"))
    generator = torch.Generator().manual_seed(seed + 1)
    ids, labels = make_batch(generator)
    output = model(input_ids=ids, labels=labels)
    output.loss.backward()
    reference = {"ids": ids, "labels": labels, "logits": output.logits.detach(), "nll": row_nll(output.logits, labels).detach()}
    for name, parameter in model.named_parameters():
        reference[f"gradient.{name}"] = parameter.grad
    reference = {name: tensor.contiguous() for name, tensor in reference.items()}
    save_file(reference, os.path.join(folder, "reference.safetensors"), metadata={"loss": repr(output.loss.item())})
    batches = [make_batch(generator) for _ in range(STEPS)]
    training = {
        "torch": torch.__version__, "adamw": ADAMW,
        "decayed": [n for n, p in model.named_parameters() if p.dim() > 1],
        "batches": [dict(ids=i.tolist(), labels=l.tolist()) for i, l in batches],
        "recipes": {name: train(make_model(shape, seed), recipe, batches) for name, recipe in RECIPES.items()},
    }  # fmt: skip
    with open(os.path.join(folder, "training.json"), "w") as file:
        json.dump(training, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for index, (name, shape) in enumerate(VARIANTS.items()):
        write(os.path.join(sys.argv[1], name), shape, seed=10 * (index + 1))
