"""scikit-learn's k-means as the peer of bench/kmeans.ts.

Reads requests, one JSON object a line, on standard input, and answers each with one on standard output:
{"load": [points file, initial file], "n": n, "d": d, "k": k}   raw little-endian float32, row-major
{"fit": "lloyd" | "elkan", "iterations": i}                      seconds of one fit from the given initial centroids
{"fit": "lloyd", "iterations": i, "float64": true}               the same on the points as float64
"""

import json
import resource
import sys
import time

import numpy
import sklearn
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info, threadpool_limits

THREADS = 2

points = initial = None


def inertia_of(model):
    """Sum of squared distances in float64: the fitted attribute is summed in the points' own type."""
    total = 0.0
    for first in range(0, len(points), 65536):
        part = slice(first, first + 65536)
        difference = points[part].astype(numpy.float64) - model.cluster_centers_[model.labels_[part]]
        total += float((difference**2).sum())
    return total


for line in sys.stdin:
    request = json.loads(line)
    if "load" in request:
        n, d, k = request["n"], request["d"], request["k"]
        points = numpy.fromfile(request["load"][0], dtype="<f4").reshape(n, d)
        initial = numpy.fromfile(request["load"][1], dtype="<f4").reshape(k, d)
        answer = {
            "versions": {"python": sys.version.split()[0], "scikit-learn": sklearn.__version__, "numpy": numpy.__version__},
            "pools": [{"api": p["internal_api"], "version": p["version"], "arch": p.get("architecture")} for p in threadpool_info()],
        }
    else:
        data, start_from = points, initial
        if request.get("float64"):
            data, start_from = points.astype(numpy.float64), initial.astype(numpy.float64)
        model = KMeans(
            n_clusters=len(initial),
            init=start_from,
            n_init=1,
            max_iter=request["iterations"],
            tol=0,
            algorithm=request["fit"],
        )
        with threadpool_limits(THREADS):
            cpu = time.process_time()
            start = time.perf_counter()
            model.fit(data)
            seconds = time.perf_counter() - start
            cpu = time.process_time() - cpu
        answer = {
            "seconds": seconds,
            "cpuSeconds": cpu,
            "iterations": int(model.n_iter_),
            "inertia": inertia_of(model),
            "peakMiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    print(json.dumps(answer), flush=True)
