"""Hashed, weighted, projected n-grams by scikit-learn: the peer of bench/ngrams.ts.

    python ngrams_sklearn.py '{"file": TEXTS, "dimensions": 384}'       (TEXTS: a JSON array of texts)

Character 3-grams within words (`char_wb`), 2^17 features, sublinear tf, smoothed idf, a sparse random projection, L2. Says that it is
ready, then answers each line {} with seconds and processor seconds of `fit` (idf of the texts) and `embed` (their vectors).
"""

import json
import os
import resource
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy
import sklearn
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize
from sklearn.random_projection import SparseRandomProjection

spec = json.loads(sys.argv[1])
with open(spec["file"], encoding="utf-8") as file:
    texts = json.load(file)
hashing = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 3), n_features=1 << 17, norm=None, alternate_sign=False)
projection = SparseRandomProjection(spec["dimensions"], density=4 / spec["dimensions"], random_state=0, dense_output=True)
projection.fit(hashing.transform(texts[:1]))


def timed(work):
    cpu = time.process_time()
    start = time.perf_counter()
    value = work()
    return value, {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}


versions = {"python": sys.version.split()[0], "scikit-learn": sklearn.__version__, "numpy": numpy.__version__}
print(json.dumps({"versions": versions}), flush=True)
for line in sys.stdin:
    tfidf, fit = timed(lambda: TfidfTransformer(sublinear_tf=True).fit(hashing.transform(texts)))
    vectors, embed = timed(lambda: normalize(projection.transform(tfidf.transform(hashing.transform(texts)))))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"fit": fit, "embed": embed, "shape": list(vectors.shape), "peakMiB": peak}), flush=True)
