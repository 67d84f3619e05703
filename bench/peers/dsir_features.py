"""DSIR's features by the authors' package `data-selection`: the peer of bench/importance.ts.

    python dsir_features.py '{"file": TEXTS}'        (TEXTS: a JSON array of texts)

Says that it is ready, then answers each line {} with the seconds and processor seconds of counting all texts into one array, and the
counts. NLTK must be 3.10.2 or older: later ones read `\\w` with another engine, in which combining marks are word characters.
"""

import json
import resource
import sys
import time
from importlib.metadata import version

import numpy
from data_selection.hashed_ngram_dsir import get_ngram_counts

with open(json.loads(sys.argv[1])["file"], encoding="utf-8") as file:
    texts = json.load(file)
for text in texts[:200]:
    get_ngram_counts(text)

versions = {"python": sys.version.split()[0]} | {n: version(n) for n in ("data-selection", "nltk", "numpy")}
print(json.dumps({"versions": versions}), flush=True)
for line in sys.stdin:
    cpu = time.process_time()
    start = time.perf_counter()
    counts = numpy.zeros(10_000, dtype=int)
    for text in texts:
        get_ngram_counts(text, counts=counts)
    answer = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    answer["peakMiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer["counts"] = counts.tolist()
    print(json.dumps(answer), flush=True)
