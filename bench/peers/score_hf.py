"""Scoring a pool with transformers: the peer of winnow's per-example losses.

    python score_hf.py SPEC             SPEC: a JSON object, or the path of a file that holds one

Required: model (directory with config.json and model.safetensors) and pool (file of little-endian uint32: N, then the N
row lengths, then all tokens row after row; bit 31 = the token carries loss).
Optional: device ("cpu"), dtype ("float32"; "bfloat16" casts the weights), threads (2), max_length (no limit: rows are truncated to it), batch (32), modes (["batched", "single"]), serve (false).

batched  the usual loop: rows in input order, `batch` at a time, padded to the longest with an attention mask
single   one example at a time, loss from the model's own `labels`: how S2L's authors record their trajectories

Once: scores the whole pool in each mode, one JSON line each. With serve: scores a few rows in each mode to warm up, prints
{"ready": true, ...}, then for each line {"mode": m, "from": a, "to": b} on stdin scores rows [a, b) and prints one JSON line,
until stdin ends; so a driver can alternate it with another program.

A line holds seconds, cpu_seconds (processor time of all threads), tokens (of the rows, truncated, without padding), tokens_per_s, and nll: the mean NLL in nats of each
row's trained tokens, null where none is left.
"""

import json
import os
import resource
import sys
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM

TRAINED_BIT = 0x80000000
DEFAULTS = {"device": "cpu", "dtype": "float32", "threads": 2, "max_length": None, "batch": 32, "modes": ["batched", "single"], "serve": False}


def read_spec(argument):
    text = argument if argument.lstrip().startswith("{") else open(argument).read()
    return DEFAULTS | json.loads(text)


def read_pool(path, max_length):
    words = np.fromfile(path, dtype="<u4")
    count = int(words[0])
    ends = 1 + count + np.cumsum(words[1 : 1 + count], dtype=np.int64)
    starts = np.concatenate(([1 + count], ends[:-1]))
    return [words[start:end][:max_length] for start, end in zip(starts, ends)]


def ids_and_labels(row):
    ids = torch.from_numpy((row & ~np.uint32(TRAINED_BIT)).astype(np.int64))
    labels = torch.where(torch.from_numpy((row & TRAINED_BIT) != 0), ids, -100)
    labels[:1] = -100
    return ids, labels


def score_batched(model, rows, batch):
    nll = []
    for start in range(0, len(rows), batch):
        pairs = [ids_and_labels(row) for row in rows[start : start + batch]]
        ids = torch.nn.utils.rnn.pad_sequence([i for i, _ in pairs], batch_first=True)
        labels = torch.nn.utils.rnn.pad_sequence([l for _, l in pairs], batch_first=True, padding_value=-100)
        mask = torch.zeros_like(ids)
        for row, (i, _) in enumerate(pairs):
            mask[row, : len(i)] = 1
        ids, labels, mask = (a.to(model.device) for a in (ids, labels, mask))
        logits = model(input_ids=ids, attention_mask=mask).logits.float()
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="none"
        ).view(ids.shape[0], -1)
        nll += (losses.sum(1) / (labels[:, 1:] != -100).sum(1)).tolist()
    return nll


def score_single(model, rows):
    nll = []
    for row in rows:
        ids, labels = (a.to(model.device) for a in ids_and_labels(row))
        nll.append(model(input_ids=ids[None], labels=labels[None]).loss.item())
    return nll


def peak_rss():
    """Bytes. Linux counts ru_maxrss in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@torch.inference_mode()
def score(model, rows, mode, batch):
    start, cpu_start = time.perf_counter(), time.process_time()
    nll = score_batched(model, rows, batch) if mode == "batched" else score_single(model, rows)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    tokens = sum(len(row) for row in rows)
    return {
        "mode": mode, "seconds": seconds, "cpu_seconds": cpu_seconds, "tokens": tokens, "tokens_per_s": tokens / seconds,
        "peak_rss": peak_rss(), "peak_device": torch.cuda.max_memory_allocated() if model.device.type == "cuda" else None,
        "nll": [None if value != value else value for value in nll],
    }  # fmt: skip


def main():
    spec = read_spec(sys.argv[1])
    torch.set_num_threads(spec["threads"])
    rows = read_pool(spec["pool"], spec["max_length"])
    model = AutoModelForCausalLM.from_pretrained(
        spec["model"], dtype=getattr(torch, spec["dtype"]), attn_implementation="sdpa", local_files_only=True
    ).to(spec["device"]).eval()
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "threads": torch.get_num_threads()}
    for mode in spec["modes"]:
        score(model, rows[: spec["batch"]], mode, spec["batch"])
    if not spec["serve"]:
        for mode in spec["modes"]:
            print(json.dumps(versions | score(model, rows, mode, spec["batch"])), flush=True)
        return
    print(json.dumps({"ready": True, "rows": len(rows)} | versions), flush=True)
    for line in sys.stdin:
        block = json.loads(line)
        print(json.dumps(score(model, rows[block["from"] : block["to"]], block["mode"], spec["batch"])), flush=True)


if __name__ == "__main__":
    main()
