"""Greedy generation with transformers: the peer of winnow's generator.

    python generate_hf.py SPEC             SPEC: a JSON object

Required: model (directory with config.json and model.safetensors). Optional: threads (2).

Prints {"ready": true, ...}, then for each line {"prompts": [[ids], ...], "new": n} on stdin one JSON line, until stdin ends: seconds, cpu_seconds (processor
time of all threads) and tokens (the continuations). Prompts make one batch, padded on the left with an attention mask; the cache is transformers' default,
and no token ends a text, so that both sides do the same work.
"""

import json
import os
import resource
import sys
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import torch
import transformers
from transformers import AutoModelForCausalLM

DEFAULTS = {"threads": 2}


@torch.inference_mode()
def generate(model, prompts, new):
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    start, cpu_start = time.perf_counter(), time.process_time()
    out = model.generate(
        ids, attention_mask=mask, max_new_tokens=new, do_sample=False, use_cache=True, eos_token_id=None, pad_token_id=0
    )
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_rss": peak, "tokens": out[:, longest:].tolist()}


def main():
    spec = DEFAULTS | json.loads(sys.argv[1])
    torch.set_num_threads(spec["threads"])
    transformers.logging.set_verbosity_error()
    model = AutoModelForCausalLM.from_pretrained(
        spec["model"], dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
    ).eval()
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "threads": torch.get_num_threads()}
    print(json.dumps({"ready": True} | versions), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(generate(model, asked["prompts"], asked["new"])), flush=True)


if __name__ == "__main__":
    main()
