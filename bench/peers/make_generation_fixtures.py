"""Greedy continuations by transformers' generate for the models in test/fixtures/models: test/fixtures/generation/greedy.json.

    python bench/peers/make_generation_fixtures.py
"""

import json
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).resolve().parents[2] / "test" / "fixtures"
VARIANTS = ["llama-gqa", "llama-mha", "llama-biased", "qwen2", "qwen3", "gpt-neox", "gpt-neox-sequential", "gpt2", "mistral",
            "llama-linear", "llama-yarn", "stories260K"]
# Of several lengths, one of them a single token.
PROMPTS = [[1, 2, 3], [5], [44, 17, 80, 3, 9, 21, 60, 2, 33, 71, 8, 15], [9, 9], [70, 60, 50]]
NEW_TOKENS = 18

torch.set_num_threads(1)
models = {}
for variant in VARIANTS:
    model = transformers.AutoModelForCausalLM.from_pretrained(ROOT / "models" / variant, dtype=torch.float32).eval()
    continuations = []
    least_margin = float("inf")
    for prompt in PROMPTS:
        # One by one: what is meant is the model's own continuation, without any padding.
        ids = torch.tensor([prompt])
        given = dict(do_sample=False, eos_token_id=None, pad_token_id=0, max_new_tokens=NEW_TOKENS, use_cache=True)
        with torch.no_grad():
            out = model.generate(ids, attention_mask=torch.ones_like(ids), output_logits=True, return_dict_in_generate=True, **given)
        for logits in out.logits:
            first, second = torch.topk(logits[0].double(), 2).values.tolist()
            least_margin = min(least_margin, first - second)
        continuations.append(out.sequences[0, len(prompt):].tolist())
    print(variant, f"smallest lead of a chosen token: {least_margin:.2e}")
    models[variant] = continuations

versions = {"torch": torch.__version__, "transformers": transformers.__version__}
lines = ",\n".join(f'    {json.dumps(name)}: {json.dumps(rows)}' for name, rows in models.items())
(ROOT / "generation" / "greedy.json").write_text(
    f'{{\n  "made": {json.dumps(versions)},\n  "prompts": {json.dumps(PROMPTS)},\n  "continuations": {{\n{lines}\n  }}\n}}\n'
)
