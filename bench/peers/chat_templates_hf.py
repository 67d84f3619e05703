"""Random conversations through the templates of make_tokenizer_fixtures.py, as transformers renders, tokenises and masks them.

    python chat_templates_hf.py '{"fixtures": "test/fixtures/tokenizer"}'

Each line of standard input, {"seed": n, "count": n}, is answered with a line: a list of {template, messages, ids, mask} or {…, refused}, `count` for each
template. Contents are made of white space, Unicode, markup and the words that templates use themselves; some conversations begin or end
with the wrong turn.
"""

import json
import logging
import os
import random
import sys

import jinja2
import transformers
from make_tokenizer_fixtures import DATE, TEMPLATES, block
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

PIECES = [
    *[" ", "  ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\ufeff", "\x1c", "\x85"],
    *["a", "The", "user", "assistant", "model", "12", "3.5", "!", "--", "'s", "é", "e\u0301", "日本", "👩‍👩‍👧", "𝟘"],
    *["<think>", "</think>", "<think>\n", "\n</think>\n\n", "<tool_response>", "</tool_response>", "[INST]", "USER:", "ASSISTANT:", "###"],
    *["{{", "}}", "{%", "%}", "{#", "</", ">", "|", "\\n", "\\", '"', "'"],
]


def conversation(draw):
    roles = ["system"] if draw.random() < 0.3 else []
    roles += ["user", "assistant"] * draw.choice([1, 1, 2, 3, 4, 6, 9])
    if draw.random() < 0.2:
        roles.pop()
    if draw.random() < 0.1:
        roles.insert(draw.randint(0, len(roles)), draw.choice(["tool", "assistant", "user"]))
    text = lambda: "".join(draw.choice(PIECES) for _ in range(draw.randint(1, 8)))
    return [{"role": role, "content": text()} for role in roles]


def answer(tokenizers, seed, count):
    draw = random.Random(seed)
    cases = []
    for name, family in TEMPLATES.items():
        tokens = {key: value["content"] if isinstance(value, dict) else value for key, value in family["config"].items()}
        peer = PreTrainedTokenizerFast(tokenizer_object=tokenizers[family["tokenizer"]], **tokens)
        marked = block(family["source"], True)
        for _ in range(count):
            case = dict(template=name, messages=conversation(draw))
            try:
                out = peer.apply_chat_template(
                    case["messages"], chat_template=marked, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **DATE
                )
                cases.append(dict(case, ids=out["input_ids"], mask=out["assistant_masks"]))
            except jinja2.exceptions.TemplateError as error:
                cases.append(dict(case, refused=str(error)))
    return cases


def main(fixtures):
    logging.disable(logging.WARNING)
    tokenizers = {
        "byte-level": Tokenizer.from_file(os.path.join(fixtures, "byte-level.json")),
        "stories": Tokenizer.from_file(os.path.join(fixtures, "stories260k/tokenizer.json")),
    }
    print(json.dumps({"transformers": transformers.__version__, "jinja2": jinja2.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(tokenizers, **json.loads(line))), flush=True)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
