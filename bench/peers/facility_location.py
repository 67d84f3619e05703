"""apricot's lazy greedy facility location as the peer of bench/facility-location.ts.

Argument: {"data": file of raw float32 [n, d], "n": n, "d": d, "threads": t}. Answers one line of JSON a request:
{"rows": r, "picks": p, "neighbours": k or null}   the first p picks of the first r rows, over all pairs or k neighbours of each
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

data = numpy.fromfile(spec["data"], dtype="<f4").reshape(spec["n"], spec["d"])


def select(rows, picks, neighbours):
    selector = FacilityLocationSelection(
        picks, metric="cosine", optimizer="lazy", n_neighbors=neighbours, n_jobs=spec["threads"]
    )
    selector.fit(data[:rows])
    return selector


# Compiles what numba compiles.
for neighbours in (None, 8):
    try:
        select(200, 10, neighbours)
    except Exception as error:  # noqa: BLE001
        print(f"neighbours {neighbours}: {error!r}", file=sys.stderr)

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
