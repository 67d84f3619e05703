"""Reference values for winnow's models from transformers' causal language models, random weights, f32.

    python make_fixtures.py OUT [NAME ...]      writes OUT/NAME/ for all variants or those named, and OUT/rope.json (OUT: test/fixtures/models)

Each folder: config.json and model.safetensors as transformers saves them, and
  reference.safetensors   ids [batch, length] and labels [batch, length] (int64; -100 = no loss), logits [batch, length,
                          vocab], nll [batch] (mean NLL of each row's labels), gradient.NAME for every parameter: of the
                          mean NLL over all labels of the batch
  training.json           (not of the variants that only have logits) AdamW from the same weights, 20 steps: the
                          batches, the options and the loss before each step for the recipe `full` (decay, clipping,
                          warm-up + cosine; for the first two variants also plain, and decoupled weight decay on
                          matrices), and the Euclidean norm of every parameter after the last step
Label t is predicted from position t - 1; a label at position 0 counts for nothing. Rows end at different lengths: the rest is
padding (id 0, no label, to the right, so the causal mask needs no help). Parameters have the names of a saved checkpoint.
rope.json: inverse frequencies and attention factors of ROPE_INIT_FUNCTIONS for configurations like those of real models.
"""

import json
import math
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

LLAMA = dict(model_type="llama", num_hidden_layers=2, rms_norm_eps=1e-5, tie_word_embeddings=True)
SMALL = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4)
NEOX = SMALL | dict(model_type="gpt_neox", rotary_pct=0.5, tie_word_embeddings=False)
QWEN = SMALL | dict(num_key_value_heads=2, tie_word_embeddings=True)
# The context of 64 is as if stretched from 16: the scalings differ within the 12 positions that are fed.
LLAMA3 = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
VARIANTS = {
    "llama-gqa": LLAMA | dict(hidden_size=32, intermediate_size=40, num_attention_heads=4, num_key_value_heads=2),
    "llama-mha": LLAMA | dict(hidden_size=16, intermediate_size=24, num_attention_heads=4, num_key_value_heads=4),
    "gpt-neox": NEOX,
    "gpt-neox-sequential": NEOX | dict(use_parallel_residual=False, rotary_pct=1.0, attention_bias=False, tie_word_embeddings=True),
    "gpt2": dict(model_type="gpt2", n_embd=16, n_layer=2, n_head=4, n_positions=32),
    "llama-biased": LLAMA | SMALL | dict(num_key_value_heads=2, attention_bias=True, mlp_bias=True, tie_word_embeddings=False, rope_parameters=LLAMA3),
    "qwen2": QWEN | dict(model_type="qwen2"),
    "qwen3": QWEN | dict(model_type="qwen3", head_dim=6),
    "mistral": SMALL | dict(model_type="mistral", num_key_value_heads=2, sliding_window=None, hidden_act="gelu", tie_word_embeddings=False),
    "llama-linear": LLAMA | SMALL | dict(rope_parameters=dict(rope_type="linear", factor=4.0)),
    "llama-yarn": LLAMA | SMALL | dict(rope_parameters=YARN),
}  # fmt: skip
LOGITS_ONLY = {"mistral", "llama-linear", "llama-yarn"}
ALL_RECIPES = {"llama-gqa", "llama-mha"}
VOCAB, BATCH, LENGTH, STEPS = 97, 3, 12, 20
ADAMW = dict(lr=3e-3, betas=[0.9, 0.95], eps=1e-8)
RECIPES = {
    "plain": dict(weight_decay=0.0, clip=None, schedule="constant"),
    "decay": dict(weight_decay=0.1, clip=None, schedule="constant"),
    "full": dict(weight_decay=0.1, clip=1.0, schedule="warmup-cosine", warmup=4),
}


def make_model(shape, seed):
    torch.manual_seed(seed)
    rope = {} if "rope_parameters" in shape or shape["model_type"] == "gpt2" else dict(rope_theta=10000.0)
    positions = {} if "n_positions" in shape else dict(max_position_embeddings=64)
    options = dict(vocab_size=VOCAB, use_cache=False, initializer_range=0.2) | rope | positions | shape
    config = AutoConfig.for_model(**options)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, 0, 0.2)
        elif parameter.dim() == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model.eval()


def named_parameters(model):
    """By the names that a checkpoint has: transformers 5 calls GPT-NeoX's embed_out lm_head in memory."""
    neox = model.config.model_type == "gpt_neox"
    return [("embed_out.weight" if neox and n == "lm_head.weight" else n, p) for n, p in model.named_parameters()]


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
    final = {name: p.detach().norm().item() for name, p in named_parameters(model)}
    return recipe | dict(losses=losses, learning_rates=rates, gradient_norms=norms, final_norms=final)


def write(folder, name, shape, seed):
    os.makedirs(folder, exist_ok=True)
    model = make_model(shape, seed)
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "generation_config.json"))
    generator = torch.Generator().manual_seed(seed + 1)
    ids, labels = make_batch(generator)
    output = model(input_ids=ids, labels=labels)
    output.loss.backward()
    reference = {"ids": ids, "labels": labels, "logits": output.logits.detach(), "nll": row_nll(output.logits, labels).detach()}
    if name not in LOGITS_ONLY:
        for parameter_name, parameter in named_parameters(model):
            reference[f"gradient.{parameter_name}"] = parameter.grad
    reference = {name: tensor.contiguous() for name, tensor in reference.items()}
    save_file(reference, os.path.join(folder, "reference.safetensors"), metadata={"loss": repr(output.loss.item())})
    if name in LOGITS_ONLY:
        return
    batches = [make_batch(generator) for _ in range(STEPS)]
    recipes = RECIPES if name in ALL_RECIPES else {"full": RECIPES["full"]}
    training = {
        "torch": torch.__version__, "adamw": ADAMW,
        "decayed": [n for n, p in named_parameters(model) if p.dim() > 1],
        "batches": [dict(ids=i.tolist(), labels=l.tolist()) for i, l in batches],
        "recipes": {name: train(make_model(shape, seed), recipe, batches) for name, recipe in recipes.items()},
    }  # fmt: skip
    with open(os.path.join(folder, "training.json"), "w") as file:
        json.dump(training, file, separators=(",", ":"))
        file.write("\n")


ROPE = {
    "Llama 3.2 1B": dict(head_dim=64, max_position_embeddings=131072, rope_theta=500000.0, rope_scaling=dict(
        rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)),
    "linear": dict(head_dim=32, max_position_embeddings=4096, rope_theta=10000.0, rope_scaling=dict(rope_type="linear", factor=2.5)),
    "dynamic": dict(head_dim=32, max_position_embeddings=4096, rope_theta=10000.0, rope_scaling=dict(rope_type="dynamic", factor=2.0)),
    "Qwen2.5 with YaRN": dict(head_dim=128, max_position_embeddings=32768, rope_theta=1000000.0, rope_scaling=dict(
        rope_type="yarn", factor=4.0, original_max_position_embeddings=32768)),
    "YaRN with all its options": dict(head_dim=64, max_position_embeddings=163840, rope_theta=10000.0, rope_scaling=dict(
        rope_type="yarn", factor=40.0, original_max_position_embeddings=4096, beta_fast=24.0, beta_slow=2.0, mscale=1.0,
        mscale_all_dim=0.707, truncate=False)),
    "YaRN with an attention factor": dict(head_dim=64, max_position_embeddings=8192, rope_theta=10000.0, rope_scaling=dict(
        rope_type="yarn", factor=2.0, original_max_position_embeddings=4096, attention_factor=1.5)),
    "LongRoPE": dict(head_dim=16, max_position_embeddings=131072, rope_theta=10000.0, rope_scaling=dict(
        rope_type="longrope", short_factor=[1.0, 1.02, 1.05, 1.1, 1.3, 1.5, 1.8, 2.0], long_factor=[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 48.0, 64.0],
        factor=32.0, original_max_position_embeddings=4096)),
    "a part of each head, linear": dict(head_dim=64, max_position_embeddings=2048, rope_theta=10000.0, partial_rotary_factor=0.25,
        rope_scaling=dict(rope_type="linear", factor=2.0)),
}  # fmt: skip


def write_rope(path):
    """Configurations as transformers 4 writes them, with what transformers computes from them."""
    values = {}
    for name, options in ROPE.items():
        scaling = dict(options["rope_scaling"])
        config = AutoConfig.for_model("llama", hidden_size=4 * options["head_dim"], num_attention_heads=4, **options | dict(rope_scaling=dict(scaling)))
        frequencies, factor = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](config)
        values[name] = dict(config=options, frequencies=frequencies.tolist(), factor=factor)
    with open(path, "w") as file:
        json.dump(values, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for index, (name, shape) in enumerate(VARIANTS.items()):
        if len(sys.argv) < 3 or name in sys.argv[2:]:
            write(os.path.join(sys.argv[1], name), name, shape, seed=10 * (index + 1))
    write_rope(os.path.join(sys.argv[1], "rope.json"))
