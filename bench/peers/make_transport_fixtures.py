"""Writes test/fixtures/transport/peers.json: potentials and costs by POT and ott-jax.

    pip install -r bench/peers/requirements.txt && python bench/peers/make_transport_fixtures.py

Vectors are float32; the test makes none, so that both sides have the same bits. Potentials are g - eps log b, less their mean.
"""

import base64
import json
import os
import pathlib

os.environ["POT_BACKEND_DISABLE_PYTORCH"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import numpy  # noqa: E402
import ot  # noqa: E402

jax.config.update("jax_enable_x64", True)
from ott.geometry import pointcloud  # noqa: E402
from ott.problems.linear import linear_problem  # noqa: E402
from ott.solvers.linear import sinkhorn as ott_sinkhorn  # noqa: E402

random = numpy.random.default_rng(11)


def normal(n, d):
    return random.normal(size=(n, d)).astype("float32")


def unit(n, d, clusters, spread):
    """Directions of clusters of unequal sizes, as embeddings of texts on several subjects have."""
    centres = random.normal(size=(clusters, d))
    which = numpy.floor(clusters * random.random(n) ** 2).astype(int)
    rows = centres[which] + spread * random.normal(size=(n, d)) + 0.5
    return (rows / numpy.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


def weights(n):
    return numpy.round(random.uniform(0.2, 3, n), 3)


def encode(array):
    return base64.b64encode(numpy.ascontiguousarray(array, dtype="<f4").tobytes()).decode()


def centred(g, b, epsilon):
    values = g - epsilon * numpy.log(b)
    return [float(v) for v in values - values.mean()]


problems = [
    ("normal", normal(12, 3), normal(20, 3), [0.1, 1.0, 20.0], False),
    ("embeddings", unit(24, 16, 6, 0.8), unit(48, 16, 6, 0.8), [0.02, 0.05, 0.5], False),
    ("weighted embeddings", unit(20, 12, 5, 0.8), unit(40, 12, 5, 0.8), [0.05], True),
]
cases = []
for name, targets, candidates, epsilons, weighted in problems:
    m, n = len(targets), len(candidates)
    x, y = targets.astype("float64"), candidates.astype("float64")
    cost = ot.dist(x, y, metric="sqeuclidean")
    aw = weights(m) if weighted else numpy.ones(m)
    bw = weights(n) if weighted else numpy.ones(n)
    a, b = aw / aw.sum(), bw / bw.sum()
    for epsilon in epsilons:
        plan, log = ot.bregman.sinkhorn_log(a, b, cost, epsilon, numItermax=200_000, stopThr=1e-13, log=True)
        geometry = pointcloud.PointCloud(x, y, epsilon=epsilon)
        solver = ott_sinkhorn.Sinkhorn(threshold=1e-11, max_iterations=200_000)
        out = solver(linear_problem.LinearProblem(geometry, a=a, b=b))
        assert bool(out.converged), (name, epsilon)
        case = {
            "name": f"{name}, epsilon {epsilon}",
            "epsilon": epsilon,
            "pot": {
                "potential": centred(epsilon * log["log_v"], b, epsilon),
                "transportCost": float((plan * cost).sum()),
                "plan": [float(v) for v in plan[:2].ravel()],
            },
            "ott": {"potential": centred(numpy.asarray(out.g), b, epsilon)},
        }
        cases.append((case, targets, candidates, aw, bw))
    # KL of both marginals, the plan's KL against a b^T.
    for rho in [0.3, 2.0]:
        epsilon = epsilons[-1]
        # The default translation-invariant variants differ in their iterations, not in the end.
        plan, log = ot.unbalanced.sinkhorn_unbalanced(
            a, b, cost, epsilon, rho, method="sinkhorn", reg_type="kl", c=a[:, None] * b[None, :],
            numItermax=200_000, stopThr=1e-14, log=True,
        )
        case = {
            "name": f"{name}, epsilon {epsilon}, unbalanced {rho}",
            "epsilon": epsilon,
            "unbalanced": rho,
            "pot": {"transportCost": float((plan * cost).sum()), "plan": [float(v) for v in plan[:2].ravel()], "mass": float(plan.sum())},
        }
        cases.append((case, targets, candidates, aw, bw))

folder = pathlib.Path(__file__).parents[2] / "test" / "fixtures" / "transport"
folder.mkdir(parents=True, exist_ok=True)


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.10g}") if isinstance(value, float) else value


data, places = [], {}
for case, targets, candidates, aw, bw in cases:
    key = id(targets)
    if key not in places:
        places[key] = len(data)
        data.append(
            {
                "m": len(targets),
                "n": len(candidates),
                "d": targets.shape[1],
                "targets": encode(targets),
                "candidates": encode(candidates),
                "targetWeights": list(aw),
                "candidateWeights": list(bw),
            }
        )
    case["problem"] = places[key]
versions = {"pot": ot.__version__, "ott-jax": __import__("ott").__version__, "numpy": numpy.__version__}
content = {"versions": versions, "problems": data, "cases": [rounded(case) for case, *_ in cases]}
(folder / "peers.json").write_text(json.dumps(content) + "\n")
