"""Training throughput in PyTorch: the peer of winnow's proxy training.

    python train_torch.py SPEC          SPEC: a JSON object, or the path of a file that holds one

Required: batch, length, and either path (a directory with config.json and model.safetensors, trained through AutoModelForCausalLM)
or the sizes of a Llama: vocab, d_model, n_layers, n_heads, d_ff.
Optional: device ("cpu"), dtype ("float32"; "bfloat16" is autocast over float32 weights), n_kv_heads (n_heads), rope_theta (10000), norm_eps (1e-5), threads (2), steps (12), warmup (3), model ("lean" |
"transformers"), compile (false), optimizer ("fused" | "foreach"), lr (1e-3), betas ([0.9, 0.95]), eps (1e-8), weight_decay
(0), clip (1.0), label_fraction (0.5, for made-up tokens), tokens (file: uint32, little endian, [steps, batch, length], bit 31 =
the token carries loss; repeated from its start when steps run past it), weights (safetensors with transformers' names),
seed (0), serve (false).

Once: runs warmup + steps steps and prints one JSON line. With serve: trains `warmup` steps, prints {"ready": true, ...}, then
for each line {"steps": n} on stdin trains n steps and prints one JSON line, until stdin ends; so a driver can alternate
it with another program, and neither start-up nor compilation is measured.

A step is what a training loop does: forward, backward, gradient clipping, optimizer step, gradients dropped. tokens_per_s
counts all batch * length tokens over the median step. step_cpu_seconds is the processor time of all threads: with one thread,
on a machine shared with others, it is the steadier number. Losses are in nats a trained token, at the weights before each step.
"""

import json
import os
import resource
import statistics
import sys
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np
import torch
from safetensors.torch import load_file

from llama_torch import LeanLlama

TRAINED_BIT = 0x80000000
DEFAULTS = {
    "rope_theta": 10000.0, "norm_eps": 1e-5, "threads": 2, "steps": 12, "warmup": 3, "model": "lean", "compile": False,
    "optimizer": "fused", "lr": 1e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.0, "clip": 1.0,
    "label_fraction": 0.5, "path": None, "device": "cpu", "dtype": "float32", "tokens": None, "weights": None, "seed": 0, "serve": False,
}  # fmt: skip


def read_spec(argument):
    text = argument if argument.lstrip().startswith("{") else open(argument).read()
    spec = DEFAULTS | json.loads(text)
    if spec["path"] is None:
        spec.setdefault("n_kv_heads", spec["n_heads"])
    return spec


def read_tokens(spec):
    """[steps, batch, length] uint32; made up from the seed when no file is given."""
    shape = (-1, spec["batch"], spec["length"])
    if spec["tokens"]:
        return np.fromfile(spec["tokens"], dtype="<u4").reshape(shape)
    rng = np.random.default_rng(spec["seed"])
    shape = (spec["warmup"] + spec["steps"], spec["batch"], spec["length"])
    tokens = rng.integers(0, spec["vocab"], shape, dtype=np.uint32)
    start = round(spec["length"] * (1 - spec["label_fraction"]))
    tokens[:, :, start:] |= TRAINED_BIT
    return tokens


def lean_arguments(tokens):
    """ids, positions before each trained token, and those tokens. A trained first token has nothing before it: no loss."""
    ids = (tokens & ~np.uint32(TRAINED_BIT)).astype(np.int64)
    trained = (tokens & TRAINED_BIT) != 0
    trained[:, 0] = False
    rows, columns = np.nonzero(trained)
    positions = rows * tokens.shape[1] + columns - 1
    return [torch.from_numpy(a) for a in (ids, positions, ids[rows, columns])]


def transformers_arguments(tokens):
    ids = (tokens & ~np.uint32(TRAINED_BIT)).astype(np.int64)
    labels = np.where((tokens & TRAINED_BIT) != 0, ids, -100)
    return [torch.from_numpy(ids), torch.from_numpy(labels)]


def transformers_model(spec):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=spec["vocab"], hidden_size=spec["d_model"], intermediate_size=spec["d_ff"],
        num_hidden_layers=spec["n_layers"], num_attention_heads=spec["n_heads"], num_key_value_heads=spec["n_kv_heads"],
        max_position_embeddings=spec["length"], rms_norm_eps=spec["norm_eps"], rope_theta=spec["rope_theta"],
        tie_word_embeddings=True, attn_implementation="sdpa", use_cache=False,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def build(spec):
    """The model, ready to train, and the function from a batch of tokens to its loss."""
    torch.manual_seed(spec["seed"])
    if spec["path"]:
        return build_from_directory(spec)
    lean = spec["model"] == "lean"
    model = LeanLlama(spec) if lean else transformers_model(spec)
    if spec["weights"]:
        missing, unexpected = model.load_state_dict(load_file(spec["weights"]), strict=False)
        if unexpected or set(missing) - {"lm_head.weight"}:
            raise SystemExit(f"{spec['weights']}: missing {missing}, unexpected {unexpected}")
    else:
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.02)
    if not lean:
        model.tie_weights()
    model.train()
    run = torch.compile(model) if spec["compile"] else model
    if lean:
        return model, lambda tokens: run(*lean_arguments(tokens))
    return model, lambda tokens: (lambda ids, labels: run(input_ids=ids, labels=labels).loss)(*transformers_arguments(tokens))


def build_from_directory(spec):
    from transformers import AutoModelForCausalLM

    device = spec["device"]
    model = AutoModelForCausalLM.from_pretrained(
        spec["path"], dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
    ).to(device)
    model.config.use_cache = False
    model.train()
    run = torch.compile(model) if spec["compile"] else model

    def loss(tokens):
        ids, labels = (a.to(device) for a in transformers_arguments(tokens))
        with torch.autocast(device, torch.bfloat16, enabled=spec["dtype"] == "bfloat16"):
            return run(input_ids=ids, labels=labels).loss

    return model, loss


def peak_device(spec):
    """Bytes of the device's memory, or none on the CPU."""
    return torch.cuda.max_memory_allocated() if spec["device"] == "cuda" else None


def peak_rss():
    """Bytes. Linux counts ru_maxrss in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Trainer:
    def __init__(self, spec):
        torch.set_num_threads(spec["threads"])
        self.spec, self.tokens, self.step = spec, read_tokens(spec), 0
        self.model, self.loss = build(spec)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=spec["lr"], betas=tuple(spec["betas"]), eps=spec["eps"],
            weight_decay=spec["weight_decay"], fused=spec["optimizer"] == "fused" or None,
            foreach=spec["optimizer"] == "foreach" or None,
        )  # fmt: skip
        self.baseline_rss = peak_rss()

    def train(self, steps):
        """One measured block."""
        seconds, cpu_seconds, losses = [], [], []
        for _ in range(steps):
            batch = self.tokens[self.step % len(self.tokens)]
            start, cpu_start = time.perf_counter(), time.process_time()
            loss = self.loss(batch)
            loss.backward()
            if self.spec["clip"]:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.spec["clip"])
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
            seconds.append(time.perf_counter() - start)
            cpu_seconds.append(time.process_time() - cpu_start)
            self.step += 1
        tokens = self.spec["batch"] * self.spec["length"]
        return {
            "tokens_per_s": tokens / statistics.median(seconds), "step_seconds": seconds,
            "step_cpu_seconds": cpu_seconds, "losses": losses, "peak_rss": peak_rss(), "peak_device": peak_device(self.spec), "baseline_rss": self.baseline_rss,
        }  # fmt: skip


def describe(spec, trainer):
    return {
        "torch": torch.__version__, "blas": "mkl" if torch.backends.mkl.is_available() else "openblas",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads(),
        "model": spec["path"] or spec["model"], "compile": spec["compile"], "device": spec["device"], "dtype": spec["dtype"], "optimizer": spec["optimizer"],
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
    }  # fmt: skip


def main():
    spec = read_spec(sys.argv[1])
    trainer = Trainer(spec)
    warm = trainer.train(spec["warmup"])
    if not spec["serve"]:
        block = trainer.train(spec["steps"])
        block["losses"] = warm["losses"] + block["losses"]
        print(json.dumps(describe(spec, trainer) | block), flush=True)
        return
    print(json.dumps({"ready": True, "losses": warm["losses"]} | describe(spec, trainer)), flush=True)
    for line in sys.stdin:
        print(json.dumps(trainer.train(json.loads(line)["steps"])), flush=True)


if __name__ == "__main__":
    main()
