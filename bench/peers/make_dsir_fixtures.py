"""Reference features for winnow's DSIR, from the authors' package `data-selection` and its NLTK tokenizer.

    python make_dsir_fixtures.py EXAMPLE OUT       (EXAMPLE: examples/math.jsonl; OUT: test/fixtures/importance)

Writes OUT/
  features.json    {versions, texts: [{text, tokens, counts: [[bucket, count], …]}], small: [{text, buckets, counts}], example: {texts, ngrams, sha256}}
                   `example`: the counts of every question and answer of EXAMPLE in one array; sha256 of it as little-endian float64
  characters.json  {unicode, assigned, word, space: ranges [first, last] of code points, lower: [[code point, its lower case], …]}
"""

import hashlib
import json
import os
import re
import sys
import unicodedata
from importlib.metadata import version

import numpy
from data_selection.hashed_ngram_dsir import get_ngram_counts, wpt

example, out = sys.argv[1:3]
os.makedirs(out, exist_ok=True)

TEXTS = [
    "",
    " \t\r\n ",
    "word",
    "Hello, world! Hello, world!",
    "It's the reader's choice -- isn't it? (Yes; no... perhaps.)",
    "snake_case __init__ _ a_1 1_000 x-y x–y x—y",
    "3.14159 1,000,000 1e-9 0xFF 50% $5 €7.50 ½ ² ₃ Ⅷ ① ٣٤ ४५ 〇 一二三",
    "def f(x: int) -> str:\n    return f'{x!r}' if x >= 0 else \"-\" * -x  # done\n",
    "for (let i = 0; i < n; i++) { a[i] += b[i] ** 2; } // TODO: vectorise\n",
    "SELECT t.name, COUNT(*) FROM t WHERE t.age >= 21 GROUP BY 1;",
    "<p class=\"x\">A &amp; B</p><br/>",
    "https://example.org/a/b?c=d&e=f#g user.name+tag@example.org",
    r"\frac{1}{2} + \sqrt{x^2 + y^2} = \$10",
    "ÀÉÎÕÜ straße STRASSE ﬁn ŒUVRE Ångström naïve façade",
    # Combining marks are no word characters to Python.
    "e\u0301te\u0301 A\u030angstro\u0308m n\u0303",
    "ΟΔΥΣΣΕΥΣ ΣΑΣ Σ ΑΣ. ΑΣ\u0301 Α\u00adΣ Σ1 ΑΣΑ ΑΣ'Α",
    "İSTANBUL DİYARBAKIR ıI İ",
    "Привет, МИР! Ёлка ещё не зелёная. Ґанок",
    "नमस्ते दुनिया। क्या हाल है?",
    "வணக்கம் உலகம்! తెలుగు ಕನ್ನಡ മലയാളം",
    "สวัสดีชาวโลก ภาษาไทยไม่มีช่องว่าง",
    "你好,世界!今天天气很好。「中文」没有空格",
    "こんにちは世界。カタカナとひらがなーテスト ﾊﾝｶｸ",
    "안녕하세요 세계! 한국어 문장입니다.",
    "مرحبا بالعالم، كيف حالك؟ ٱلسَّلَامُ",
    "שלום עולם! מַה נִּשְׁמָע",
    "ამბავი ᲐᲛᲑᲐᲕᲘ Ꭰꭰ Ᏸᏸ Ⴀⴀ",
    "ᚠᚢᚦ ⰀⰁ 𐌰𐌱𐌲 𐐀𐐨 𞤀𞤢 𝐀𝔹𝒞 𝟘𝟙 𠀀𠀁",
    "emoji 😀😃 👩‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ❤️ 1️⃣ ok😀ok",
    "nbsp\u00a0thin\u2009ideographic\u3000ogham\u1680line\u2028para\u2029narrow\u202fmath\u205fend",
    "bom\ufeffinside zwsp\u200binside zwnj\u200cinside zwj\u200dinside wj\u2060inside soft\u00adhyphen mongolian\u180evowel",
    "fs\x1cgs\x1drs\x1eus\x1fnel\x85vt\x0bff\x0cend",
    "null\x00byte bell\x07 esc\x1b[31mred del\x7f c1\x9f",
    "\ufeffBOM first",
    "private\ue000use \uffff \U0010ffff \U000f0000x",
    "ªº µ ǅ ǲ ʰʷ ℵ ℃ № ™ ⓐ ⒜ 🅰 ㎏ ㈱",
    "a" * 1000 + " " + "b" * 55 + " " + "c" * 56 + " " + "d" * 63 + " " + "e" * 64 + " é" * 3 + "é" * 40,
    "the cat sat on the mat the cat sat on the mat " * 20,
    "!" * 70 + "?" * 130,
    "\r\nWindows\r\nlines\r\n\r\n" * 3,
]


def sparse(counts):
    return [[int(bucket), int(counts[bucket])] for bucket in numpy.flatnonzero(counts)]


def ranges(codes):
    found = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def write(name, value):
    with open(os.path.join(out, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


total = numpy.zeros(10_000, dtype=int)
texts = 0
with open(example, encoding="utf-8") as file:
    for line in file:
        for value in json.loads(line).values():
            if isinstance(value, str):
                get_ngram_counts(value, counts=total)
                texts += 1

write(
    "features.json",
    {
        "versions": {"python": sys.version.split()[0], "unicode": unicodedata.unidata_version}
        | {name: version(name) for name in ("data-selection", "nltk")},
        "texts": [
            {"text": text, "tokens": len(wpt.tokenize(text.lower())), "counts": sparse(get_ngram_counts(text))}
            for text in TEXTS
        ],
        "small": [
            {"text": text, "buckets": n, "counts": sparse(get_ngram_counts(text, num_buckets=n))}
            for n in (1, 7, 4096, 65_537, 2_097_152)
            for text in (TEXTS[4], TEXTS[27])
        ],
        "example": {
            "texts": texts,
            "ngrams": int(total.sum()),
            "sha256": hashlib.sha256(total.astype("<f8").tobytes()).hexdigest(),
        },
    },
)
# Surrogates (Cs) are no text: the authors' code cannot encode them.
assigned = [code for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
write(
    "characters.json",
    {
        "unicode": unicodedata.unidata_version,
        "assigned": ranges(assigned),
        "word": ranges(code for code in assigned if re.match(r"\w", chr(code))),
        "space": ranges(code for code in assigned if re.match(r"\s", chr(code))),
        "lower": [[code, chr(code).lower()] for code in assigned if chr(code).lower() != chr(code)],
    },
)
