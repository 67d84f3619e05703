"""Writes test/fixtures/signals/*.npy with NumPy itself: python bench/peers/npy_fixtures.py"""

import pathlib

import numpy as np
from numpy.lib import format as npy

folder = pathlib.Path(__file__).parents[2] / "test" / "fixtures" / "signals"
folder.mkdir(parents=True, exist_ok=True)
values = np.array([[0.5, -1.25, 3], [7, 100, 2]])
for name in ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"]:
    array = np.abs(values) if name[0] in "u" else values
    np.save(folder / f"{name}.npy", array.astype(name), allow_pickle=False)
np.save(folder / "big-endian.npy", values.astype(">f4"))
np.save(folder / "fortran.npy", np.asfortranarray(values.astype("f4")))
np.save(folder / "vector.npy", np.arange(5, dtype="u4"))
np.save(folder / "scalar.npy", np.float64(2.5))
np.save(folder / "empty.npy", np.zeros((0, 3), "f4"))
np.save(folder / "half-extremes.npy", np.array([6e-8, 65504, np.inf, -np.inf, np.nan, -0.0], "f2"))
np.save(folder / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
np.save(folder / "structured.npy", np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]))
np.save(folder / "complex.npy", np.array([1 + 2j]))
np.save(folder / "beyond-53-bits.npy", np.array([2**53 + 1], "i8"))
for version in [(2, 0), (3, 0)]:
    with open(folder / f"version-{version[0]}.npy", "wb") as file:
        npy.write_array(file, values.astype("f4"), version=version)
