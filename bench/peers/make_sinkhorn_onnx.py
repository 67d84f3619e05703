"""Writes the steps of Sinkhorn's iteration as ONNX graphs for bench/transport-onnx.ts: python make_sinkhorn_onnx.py folder m n d"""

import pathlib
import sys

import onnx
from onnx import TensorProto, helper

folder, (m, n, d) = pathlib.Path(sys.argv[1]), map(int, sys.argv[2:5])


def save(name, nodes, inputs, outputs, initialisers=()):
    values = lambda items: [helper.make_tensor_value_info(k, TensorProto.FLOAT, shape) for k, shape in items]
    graph = helper.make_graph(nodes, name, values(inputs), values(outputs), list(initialisers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, folder / f"{name}.onnx")


axis = lambda name, value: helper.make_tensor(name, TensorProto.INT64, [1], [value])
node = helper.make_node
save("dots", [node("MatMul", ["x", "y"], ["z"])], [("x", [m, d]), ("y", [d, n])], [("z", [m, n])])
save("exp", [node("Exp", ["c"], ["k"])], [("c", [m, n])], [("k", [m, n])])
save("rows", [node("MatMul", ["k", "v"], ["s"])], [("k", [m, n]), ("v", [n, 1])], [("s", [m, 1])])
save("columns", [node("MatMul", ["u", "k"], ["s"])], [("u", [1, m]), ("k", [m, n])], [("s", [1, n])])
# f from g, then g from that f, with potentials and costs already divided by epsilon.
save(
    "log",
    [
        node("Sub", ["g", "c"], ["gc"]),
        node("ReduceLogSumExp", ["gc", "one"], ["r"], keepdims=1),
        node("Neg", ["r"], ["f"]),
        node("Sub", ["f", "c"], ["fc"]),
        node("ReduceLogSumExp", ["fc", "zero"], ["s"], keepdims=1),
        node("Neg", ["s"], ["h"]),
    ],
    [("g", [1, n]), ("c", [m, n])],
    [("f", [m, 1]), ("h", [1, n])],
    [axis("one", 1), axis("zero", 0)],
)
