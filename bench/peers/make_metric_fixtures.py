"""Texts and what the usual Python packages score them with, for winnow's tests of evaluation metrics.

    python make_metric_fixtures.py DATA OUT      (DATA: the real data, OUT: test/fixtures/evaluation)

OUT/texts.json       hypotheses with their references, from MTS-Dialog (validation) and SciTLDR (dev), and odd ones
OUT/bleu.json        sacreBLEU: of each corpus, and of each text
OUT/rouge.json       rouge-score: [precision, recall, fmeasure] of each text against its first reference; with and without the stemmer
OUT/stems.json       NLTK's PorterStemmer: words and their stems
OUT/bert-score.json  bert-score with the tiny BERT of ../encoder: P, R, F of pairs one by one, with equal weights and with idf of all references
OUT/classes.json     scikit-learn: found and true labels, and their scores
"""

import csv
import json
import os
import random
import re
import sys
import tempfile
from collections import defaultdict

import bert_score
import nltk
import numpy as np
import rouge_score
import sacrebleu
import sklearn
import torch
from bert_score.utils import bert_cos_score_idf, get_idf_dict
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from sklearn import metrics
from transformers import BertConfig, BertModel, BertTokenizerFast

from make_encoder_fixtures import MAX_TOKENS, make_tokenizer

ODD = [
    ("", ["a reference"]),
    ("a hypothesis", [""]),
    ("", [""]),
    ("   ", ["the cat"]),
    ("the cat sat on the mat", ["the cat sat on the mat"]),
    ("the the the the the the the", ["the cat is on the mat", "there is a cat on the mat"]),
    ("one", ["one"]),
    ("two words", ["two words"]),
    ("completely different", ["nothing in common here at all"]),
    ("He paid $1,234.50 (i.e. 5% of it) -- \"really\"?", ["He paid $1,234.50, i.e. 5 % of it; 'really'!"]),
    ("A &quot;quoted&quot; &amp; &lt;tagged&gt; text &amp;lt;", ["A \"quoted\" & <tagged> text"]),
    ("hyphen-\nated words and 3-4 or 5-year-old", ["hyphenated words and 3 - 4 or 5-year-old"]),
    ("two\nlines. And a third one.", ["two\nlines. And another."]),
    ("ends in a hyphen-\n", ["ends in a hyphen-"]),
    ("3.14,2.72 .5 5. ,7 7, 1.000.000,00", ["3.14, 2.72, .5, 5."]),
    ("naïve Zoë ate crème brûlée in Łódź…", ["naive Zoë ate crème brûlée in Łódź."]),
    ("水は油より重い。", ["水は油より重い。"]),
    ("🙂. 🙂, 🙂🙂", ["🙂. 🙂 , 🙂"]),
    ("no\u00a0break\u2009thin\u3000wide\u0085next\u001funit\ufeffmark", ["no break thin wide next unit mark"]),
    ("<skipped>skipped <skipped>", ["skipped"]),
    ("İstanbul K ſ", ["istanbul k s"]),
    ("tokens.With.dots,and,commas[brackets]{braces}~^_`|\\/@#", ["tokens . With . dots"]),
    ("a short one\nand a second line\n\nwith the words of a second line", ["a second line and the words\nof a short one\nline line"]),
]
WORDS = "skies dying news innings cannings proceed howe dies flies died spied feed agreed plastered bled motoring sing conflated troubled sized hopping tanned falling hissing fizzed failing filing happy sky enjoy enjoyment spy relational conditional rational valency hesitancy digitizer conformably radically differently vilely analogously vietnamization predication operator feudalism decisiveness hopefulness callousness formality sensitivity sensibility triplicate formative formalize electricity electrical hopeful goodness revival allowance inference airliner gyroscopic adjustable defensible irritant replacement adjustment dependent adoption homologous communism activate angularity effective bowdlerize probate rate cease controll roll geology theology archaeology carefully fully dully by yes eye y toys syzygy aed ing bing ion tion lion sses ies caress ponies ties cats using ising edging eyed owed aging agreeing oed ally really finally totally ability able bli bbli xalli".split()


def number(value):
    return float(f"{float(value):.12g}")


def corrupted(text, rng):
    """The text as a model might have written it: words left out, doubled and out of order."""
    words = text.split(" ")
    kept = [w for w in words if rng.random() > 0.15]
    for _ in range(len(kept) // 6):
        i = rng.randrange(len(kept))
        j = min(len(kept) - 1, i + rng.randrange(3))
        kept[i], kept[j] = kept[j], kept[i]
    return " ".join(kept + kept[: rng.randrange(3)])


def make_texts(data):
    rng = random.Random(5)
    with open(os.path.join(data, "mts-dialog", "MTS-Dialog-ValidationSet.csv"), newline="") as file:
        mts = [row["section_text"] for row in csv.DictReader(file)][:25]
    with open(os.path.join(data, "scitldr", "dev.jsonl")) as file:
        scitldr = [json.loads(line)["target"] for line in file][:40]
    sets = {
        "mts": [(corrupted(text, rng), [text]) for text in mts],
        "scitldr": [(corrupted(rng.choice(targets), rng), targets) for targets in scitldr],
        "odd": ODD,
    }
    return {name: [{"hypothesis": h, "references": r} for h, r in pairs] for name, pairs in sets.items()}


def bleu_of(score):
    return {
        "score": number(score.score), "precisions": [number(p) for p in score.precisions], "brevityPenalty": number(score.bp),
        "matches": [int(c) for c in score.counts], "totals": [int(c) for c in score.totals],
        "hypothesisLength": score.sys_len, "referenceLength": score.ref_len,
    }  # fmt: skip


def make_bleu(texts):
    found = {"sacrebleu": sacrebleu.__version__, "corpus": {}, "sentence": {}}
    for name, rows in texts.items():
        hypotheses = [row["hypothesis"] for row in rows]
        most = max(len(row["references"]) for row in rows)
        transposed = [[(row["references"] + [None] * most)[i] for row in rows] for i in range(most)]
        found["corpus"][name] = bleu_of(sacrebleu.corpus_bleu(hypotheses, transposed))
        found["sentence"][name] = [number(sacrebleu.sentence_bleu(row["hypothesis"], row["references"]).score) for row in rows]
    return found


def make_rouge(texts):
    kinds = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    found = {"rouge_score": "0.1.2"}
    for key, stemmer in (("plain", False), ("stemmed", True)):
        scorer = RougeScorer(kinds, use_stemmer=stemmer)
        found[key] = {}
        for name, rows in texts.items():
            scores = [scorer.score(row["references"][0], row["hypothesis"]) for row in rows]
            found[key][name] = {kind: [[number(x) for x in score[kind]] for score in scores] for kind in kinds}
    return found


def make_stems(texts):
    words = set(WORDS)
    for rows in texts.values():
        for row in rows:
            for text in [row["hypothesis"], *row["references"]]:
                words.update(re.findall("[a-z0-9]+", text.lower()))
    stemmer = PorterStemmer()
    return {"nltk": nltk.__version__, "stems": {word: stemmer.stem(word) for word in sorted(words)}}


def make_bert_score():
    pairs = [
        ("the water is long", "the water is long"),
        ("how many people could write?", "many of them could write to the people"),
        ("a", "an oil"),
        ("", "the water"),
        ("the water", ""),
        ("he said: it was not my day, and then she made 2 of them.", "she said that it was his day and they made two"),
        ("Über-Öl and naïve Zoë", "uber ol and naive zoe"),
        ("[SEP] can be said", "it can be said in [CLS] text"),
        ("unknownwordswithoutanyspaces", "water 水"),
        ("one two people look for more oil in the water", "look at the oil that two people find in long water"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        # As make_encoder_fixtures.py draws it.
        torch.manual_seed(4)
        torch.use_deterministic_algorithms(True)
        size = make_tokenizer(folder)
        config = BertConfig(
            vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            max_position_embeddings=48, initializer_range=0.3,
        )  # fmt: skip
        model = BertModel(config).eval()
        tokenizer = BertTokenizerFast.from_pretrained(folder)
        assert tokenizer.model_max_length == MAX_TOKENS
        if not hasattr(tokenizer, "build_inputs_with_special_tokens"):
            tokenizer.build_inputs_with_special_tokens = lambda ids: [tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]
        plain = defaultdict(lambda: 1.0)
        plain[tokenizer.sep_token_id] = 0
        plain[tokenizer.cls_token_id] = 0
        idf = get_idf_dict([r for _, r in pairs], tokenizer, nthreads=0)
        score = lambda weights: [
            [number(x) for x in bert_cos_score_idf(model, [r], [h], tokenizer, weights, device="cpu")[0].tolist()] for h, r in pairs
        ]
        return {"bert_score": bert_score.__version__, "pairs": pairs, "plain": score(plain), "idf": score(idf)}


def make_classes():
    rng = np.random.default_rng(3)
    names = np.array(["background", "method", "result"])
    cases = []
    for n, p_right, classes in ((40, 0.7, 3), (40, 0.3, 3), (25, 0.6, 2), (12, 1.0, 3), (12, 0.0, 2)):
        truth = rng.choice(classes, n, p=np.array([0.6, 0.4] if classes == 2 else [0.6, 0.3, 0.1]))
        found = np.where(rng.random(n) < p_right, truth, (truth + 1) % classes)
        cases.append((names[found].tolist(), names[truth].tolist()))
    cases.append((["a"] * 8, ["a"] * 8))
    cases.append((["a"] * 8, ["a", "b"] * 4))
    cases.append((["a", "none", "b", "none"], ["a", "a", "b", "b"]))
    found = []
    for f, t in cases:
        labels = sorted(set(f) | set(t))
        p, r, f1, support = metrics.precision_recall_fscore_support(t, f, labels=labels, zero_division=0)
        found.append({
            "found": f, "truth": t, "accuracy": number(metrics.accuracy_score(t, f)),
            "microF1": number(metrics.f1_score(t, f, average="micro", zero_division=0)),
            "macroF1": number(metrics.f1_score(t, f, average="macro", zero_division=0)),
            "matthews": number(metrics.matthews_corrcoef(t, f)),
            "perClass": {l: {"precision": number(p[i]), "recall": number(r[i]), "f1": number(f1[i]), "support": int(support[i])} for i, l in enumerate(labels)},
        })  # fmt: skip
    f, t = cases[-1]
    known = {"labels": ["a", "b"], "microF1": number(metrics.f1_score(t, f, labels=["a", "b"], average="micro")),
             "macroF1": number(metrics.f1_score(t, f, labels=["a", "b"], average="macro"))}  # fmt: skip
    return {"sklearn": sklearn.__version__, "cases": found, "known": known}


def main():
    data, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    texts = make_texts(data)
    files = {
        "texts": texts, "bleu": make_bleu(texts), "rouge": make_rouge(texts), "stems": make_stems(texts),
        "bert-score": make_bert_score(), "classes": make_classes(),
    }  # fmt: skip
    for name, value in files.items():
        with open(os.path.join(out, f"{name}.json"), "w") as file:
            json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
            file.write("\n")


if __name__ == "__main__":
    main()
