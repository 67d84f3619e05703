"""A tiny encoder with random weights for winnow's tests, and its vectors as sentence-transformers computes them.

    python make_encoder_fixtures.py OUT      (OUT: test/fixtures/encoder)

OUT/tiny-bert/    a BERT of 2 layers, d = 32, laid out as sentence-transformers saves it, with onnx/model.onnx (float32) in place of its weights
OUT/expected.json texts, their token ids (special tokens included, cut to max_seq_length) and for each pooling mode of sentence-transformers the
                  vectors of SentenceTransformer.encode, not normalised
OUT/half.onnx     a graph that looks ids up in a float16 table, row i: i, 1, -i/2
"""

import json
import os
import sys
import tempfile

import numpy as np
import onnx
import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, BertTokenizerFast

from encoder_onnx import export

MAX_TOKENS = 24
WORDS = "the a of to and in is it you that he was for on are with as his they be at one have this from or had by not but what all were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like him into time has look two more write go see number no way could people my than first water been call who oil its now find long down day did get come made may part".split()
TEXTS = [
    "the water is long",
    "How many people could write?",
    "",
    "a",
    "He said: \"it was not my day\", and then she made 2 of them.",
    "Über-Öl, crème brûlée and naïve Zoë",
    "水 is water; 油 is oil 🙂",
    " ".join(["one two people look for more oil in the water"] * 8),
    "the\tlong\n\nway   down",
    "unknownwordswithoutanyspaces" * 3,
    "The Water Is Long",
    "[SEP] can be said in [CLS] text",
]


def make_tokenizer(folder):
    pieces = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789.,:;!?'\"-()[]")
    continued = ["##" + chr(c) for c in range(ord("a"), ord("z") + 1)] + ["##" + d for d in "0123456789"]
    vocab = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + pieces + continued + WORDS))
    ids = {piece: i for i, piece in enumerate(vocab)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=MAX_TOKENS).save_pretrained(folder)
    return len(vocab)


def make_half(path, size):
    ids = np.arange(size)
    table = np.stack([ids, np.ones(size), -ids / 2], axis=1).astype(np.float16)
    axes = ["batch", "length"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])], "half",
        [onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, axes)],
        [onnx.helper.make_tensor_value_info("last_hidden_state", onnx.TensorProto.FLOAT16, [*axes, 3])],
        [onnx.numpy_helper.from_array(table, "table")],
    )  # fmt: skip
    onnx.save(onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 17)]), path)


def main():
    out = sys.argv[1]
    torch.manual_seed(4)
    torch.use_deterministic_algorithms(True)
    with tempfile.TemporaryDirectory() as folder:
        size = make_tokenizer(folder)
        config = BertConfig(
            vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            max_position_embeddings=48, initializer_range=0.3,
        )  # fmt: skip
        BertModel(config).save_pretrained(folder)
        transformer = Transformer(folder, max_seq_length=MAX_TOKENS)
        vectors = {}
        for mode in ("mean", "cls", "lasttoken", "weightedmean"):
            model = SentenceTransformer(modules=[transformer, Pooling(32, pooling_mode=mode)], device="cpu")
            vectors[mode] = [[float(f"{x:.8g}") for x in v.tolist()] for v in model.encode(TEXTS)]
            if mode == "mean":
                tokens = model.tokenizer(TEXTS, truncation=True, max_length=MAX_TOKENS)["input_ids"]
                saved = os.path.join(folder, "saved")
                model.save(saved)
        export(saved, os.path.join(out, "tiny-bert"))
    make_half(os.path.join(out, "half.onnx"), size)
    expected = {"sentence_transformers": sentence_transformers.__version__, "maxTokens": MAX_TOKENS, "texts": TEXTS, "ids": tokens, "vectors": vectors}
    with open(os.path.join(out, "expected.json"), "w") as file:
        json.dump(expected, file, ensure_ascii=False)
        file.write("\n")


if __name__ == "__main__":
    main()
