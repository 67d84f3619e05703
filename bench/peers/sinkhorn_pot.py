"""POT's Sinkhorn as the peer of bench/transport.ts.

Argument: {"targets": file, "candidates": file, "m": m, "n": n, "d": d, "epsilon": eps, "threads": t}; files are raw little-endian float32, row-major.
Answers one JSON object a line on standard output: first the versions, then one for every request on standard input:
{"solve": "sinkhorn" | "sinkhorn_log", "type": "float32" | "float64", "iterations": i, "threshold": s, "save": file or null}
    cost matrix, kernel and solve, each timed; the logarithm of POT's scaling of the candidates times eps goes to `save` as float64
"""

import json
import os
import sys

spec = json.loads(sys.argv[1])
for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]:
    os.environ[name] = str(spec["threads"])
os.environ["POT_BACKEND_DISABLE_PYTORCH"] = "1"
os.environ["POT_BACKEND_DISABLE_JAX"] = "1"

import resource  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402

import numpy  # noqa: E402
import ot  # noqa: E402

warnings.filterwarnings("ignore")
m, n, d, epsilon = spec["m"], spec["n"], spec["d"], spec["epsilon"]
targets = numpy.fromfile(spec["targets"], dtype="<f4").reshape(m, d)
candidates = numpy.fromfile(spec["candidates"], dtype="<f4").reshape(n, d)
versions = {"python": sys.version.split()[0], "pot": ot.__version__, "numpy": numpy.__version__}
print(json.dumps({"versions": versions}), flush=True)

for line in sys.stdin:
    request = json.loads(line)
    x, y = (v.astype(request["type"]) for v in (targets, candidates))
    a, b = (numpy.full(k, 1 / k, dtype=request["type"]) for k in (m, n))
    cpu = time.process_time()
    start = time.perf_counter()
    cost = ot.dist(x, y, metric="sqeuclidean")
    costed, costed_cpu = time.perf_counter(), time.process_time()
    solver = {"sinkhorn": ot.bregman.sinkhorn_knopp, "sinkhorn_log": ot.bregman.sinkhorn_log}[request["solve"]]
    _, log = solver(
        a, b, cost, epsilon, numItermax=request["iterations"], stopThr=request["threshold"], log=True, warn=False
    )
    end, end_cpu = time.perf_counter(), time.process_time()
    potential = epsilon * (log["log_v"] if "log_v" in log else numpy.log(log["v"])).astype("float64")
    if request.get("save"):
        potential.tofile(request["save"])
    print(
        json.dumps(
            {
                "seconds": end - start,
                "cpuSeconds": end_cpu - cpu,
                "solverSeconds": end - costed,
                "solverCpuSeconds": end_cpu - costed_cpu,
                "iterations": int(log["niter"]) + 1,
                "finite": bool(numpy.isfinite(potential).all()),
                "error": float(log["err"][-1]) if log["err"] else None,
                "peakMiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        ),
        flush=True,
    )
