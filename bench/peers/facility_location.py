"""apricot's lazy greedy facility location as the peer of bench/facility-location.ts.

Argument: {"data": file of raw float32 [n, d], "n": n, "d": d, "threads": t}. Answers one line of JSON a request:
{"rows": r, "picks": p, "neighbours": k, null or "own"}   the first p picks of the first r rows, over k neighbours of each or all pairs

Similarities are precomputed, cosines with negative ones as 0: apricot 0.6.1's own metric "cosine" ("own", all pairs) squares them, which is another
objective, and its own n_neighbors fails on dense data ('numpy.ndarray' object has no attribute 'toarray').
"""

import json
import os
import resource
import sys

spec = json.loads(sys.argv[1])
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = str(spec["threads"])

import time  # noqa: E402

import apricot  # noqa: E402
import numba  # noqa: E402
import numpy  # noqa: E402
import sklearn  # noqa: E402
from apricot import FacilityLocationSelection  # noqa: E402
from scipy.sparse import csr_matrix  # noqa: E402
from sklearn.neighbors import NearestNeighbors  # noqa: E402
from sklearn.preprocessing import normalize  # noqa: E402

data = numpy.fromfile(spec["data"], dtype="<f4").reshape(spec["n"], spec["d"])


def select(rows, picks, neighbours):
    x = data[:rows]
    if neighbours == "own":
        return FacilityLocationSelection(picks, metric="cosine", optimizer="lazy").fit(x)
    if neighbours is None:
        unit = normalize(x)
        cosines = unit @ unit.T
        numpy.maximum(cosines, 0, out=cosines)
        return FacilityLocationSelection(picks, metric="precomputed", optimizer="lazy").fit(cosines)
    # A row is among its own neighbours.
    search = NearestNeighbors(n_neighbors=neighbours + 1, metric="cosine", algorithm="brute").fit(x)
    graph = search.kneighbors_graph(x, mode="distance")
    graph.data = numpy.maximum(0, 1 - graph.data)
    # Row j of what it takes: which rows j covers.
    covers = csr_matrix(graph.T)
    return FacilityLocationSelection(picks, metric="precomputed", optimizer="lazy").fit(covers)


# Compiles what numba compiles.
for neighbours in (None, "own", 8):
    select(200, 10, neighbours)

print(
    json.dumps(
        {
            "versions": {
                "python": sys.version.split()[0],
                "apricot-select": apricot.__version__,
                "numba": numba.__version__,
                "numpy": numpy.__version__,
                "scikit-learn": sklearn.__version__,
            }
        }
    ),
    flush=True,
)
for line in sys.stdin:
    request = json.loads(line)
    cpu = time.process_time()
    start = time.perf_counter()
    selector = select(request["rows"], request["picks"], request["neighbours"])
    seconds = time.perf_counter() - start
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpuSeconds": time.process_time() - cpu,
                "ranking": [int(row) for row in selector.ranking],
                "gains": float(numpy.sum(selector.gains)),
                "peakMiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        ),
        flush=True,
    )
