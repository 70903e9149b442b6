"""Matrix products against NumPy in float64: shapes, layouts, dtypes, epilogues, on every device with both targets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import netcl as nc
from netcl.codegen import contraction_dot, horizontal, tiles
from netcl.codegen.ir import KernelSource, Node
from netcl.codegen.targets import Target
from netcl.core import launch

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)

# (m, k, n): vectors by matrices, edges of every kind of tile, classifier heads, sums longer than a panel
SHAPES = [
    (1, 5, 3), (2, 3, 1), (1, 64, 1), (7, 13, 16), (5, 16, 17), (12, 20, 80), (16, 128, 10), (33, 65, 70), (50, 7, 130),
    (100, 300, 1), (4, 1500, 20), (19, 2100, 70),
]  # fmt: skip


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def in_memory(array: Array) -> nc.Tensor:
    if array.dtype == ml_dtypes.bfloat16:
        return nc.tensor(array.astype(np.float32)).to(nc.bfloat16)
    return nc.tensor(np.ascontiguousarray(array))


def stored(matrix: Array, layout: str) -> nc.Tensor:
    """A tensor that equals `matrix`, as the view that the layout names of memory that lies otherwise."""
    if layout == "N":
        return in_memory(matrix)
    if layout == "T":  # transposed
        return in_memory(np.swapaxes(matrix, -1, -2)).transpose(-1, -2)
    rows, columns = matrix.shape[-2:]
    if layout == "S":  # every second row and column, from an offset
        wide = RNG.standard_normal((*matrix.shape[:-2], 2 * rows + 1, 2 * columns + 3)).astype(matrix.dtype)
        wide[..., 1 : 1 + 2 * rows : 2, 3 : 3 + 2 * columns : 2] = matrix
        return in_memory(wide)[..., 1 : 1 + 2 * rows : 2, 3 : 3 + 2 * columns : 2]
    return in_memory(matrix[..., ::-1, ::-1]).flip((-1, -2))  # F: backwards


def close(result: nc.Tensor, expected: Array, depth: int, tolerance: float = 2e-6) -> None:
    found = result.numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.astype(np.float64), expected, rtol=tolerance, atol=tolerance * (4 + depth))


@contextmanager
def launches() -> Iterator[list[str]]:
    """The names of the kernels launched inside."""
    names: list[str] = []

    def observe(_device: object, launched: launch.Launch, _event: object) -> None:
        names.append(launched.name)

    launch.observers.append(observe)
    try:
        yield names
    finally:
        launch.observers.remove(observe)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("layouts", ["NN", "NT", "TN", "TT"])
def test_every_shape_in_every_orientation(layouts: str) -> None:
    for m, k, n in SHAPES:
        a, b = normal(m, k), normal(k, n)
        close(stored(a, layouts[0]) @ stored(b, layouts[1]), a.astype(float) @ b, k)


@pytest.mark.long
@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("seed", range(30))
def test_random_products(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 15, 16, 17, 20, 31, 32, 33, 47, 48, 63, 64, 65, 70, 96, 100, 129, 130]
    for _ in range(5):
        m, n = rng.choice(sizes), rng.choice(sizes)
        k = rng.choice([1, 2, 7, 15, 16, 17, 32, 33, 50, 64, 100, 130, 1025, 2050])
        batch, layouts = int(rng.choice([1, 1, 1, 2, 5])), rng.choice(list("NTSF"), 2)
        a, b, bias = normal(batch, m, k), normal(batch, k, n), normal(n)
        product = stored(a, layouts[0]) @ stored(b, layouts[1])
        close((product + nc.tensor(bias)).relu(), np.maximum(a.astype(float) @ b + bias, 0), k)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("layouts", ["SN", "NS", "FN", "NF", "FT"])
def test_steps_offsets_and_negative_strides(layouts: str) -> None:
    for m, k, n in [(20, 160, 12), (70, 30, 66)]:
        a, b = normal(m, k), normal(k, n)
        close(stored(a, layouts[0]) @ stored(b, layouts[1]), a.astype(float) @ b, k)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("m", "k", "n"), [(5, 7, 9), (17, 40, 33), (8, 130, 16)])
def test_batches_also_broadcast(m: int, k: int, n: int) -> None:
    a, b = normal(6, m, k), normal(6, k, n)
    for left, right in (("N", "N"), ("T", "N"), ("N", "T"), ("S", "F")):
        close(stored(a, left) @ stored(b, right), a.astype(float) @ b, k)
    one = normal(k, n)
    close(nc.tensor(a).expand(6, m, k) @ nc.tensor(one).expand(6, k, n), a.astype(float) @ one, k)
    close(nc.tensor(a[0]).expand(4, m, k) @ nc.tensor(b[:4]), a[0].astype(float) @ b[:4], k)
    several = normal(2, 3, m, k)
    close(nc.tensor(several) @ stored(one, "T"), several.astype(float) @ one, k)
    close(nc.tensor(several) @ nc.tensor(b[:3]), several.astype(float) @ b[:3], k)


@pytest.mark.usefixtures("place")
def test_rows_and_columns_that_repeat() -> None:
    row, column, full = normal(1, 40), normal(40, 1), normal(40, 50)
    close(nc.tensor(row).expand(30, 40) @ nc.tensor(full), np.repeat(row, 30, 0).astype(float) @ full, 40)
    expected = full.T.astype(float) @ np.repeat(column, 70, 1)
    close(nc.tensor(full.T.copy()) @ nc.tensor(column).expand(40, 70), expected, 40)


@pytest.mark.usefixtures("place")
def test_operands_that_are_not_in_memory_as_strides() -> None:
    x, w = normal(4, 6), normal(12, 50)
    turned = nc.tensor(x).transpose(0, 1)
    turned.numpy()
    close(turned.reshape(2, 12) @ nc.tensor(w), x.T.reshape(2, 12).astype(float) @ w, 12)
    close(nc.ones(30, 12) @ nc.tensor(w), np.ones((30, 12)) @ w, 12)
    close(nc.tensor(w) @ nc.full((50, 3), 0.5), w.astype(float) @ np.full((50, 3), 0.5), 50)
    close((nc.tensor(x) * 2).exp() @ nc.tensor(w[:6]), np.exp(2.0 * x) @ w[:6], 50)


@pytest.mark.usefixtures("place")
def test_a_sum_over_nothing_is_zero() -> None:
    a, b = np.zeros((3, 0), np.float32), np.zeros((0, 20), np.float32)
    close(nc.tensor(a) @ nc.tensor(b), np.zeros((3, 20)), 0)
    bias = np.arange(20, dtype=np.float32)
    close((nc.tensor(a) @ nc.tensor(b) + nc.tensor(bias)).relu(), np.tile(bias, (3, 1)), 0)


@pytest.mark.usefixtures("place")
def test_an_operand_with_itself() -> None:
    x = normal(37, 45)
    t = nc.tensor(x)
    close(t @ t.transpose(0, 1), x.astype(float) @ x.T, 45)
    close(t.transpose(0, 1) @ t, x.T.astype(float) @ x, 37)


@pytest.mark.usefixtures("place")
def test_products_of_one_recording_and_of_moving_windows() -> None:
    data, w = normal(60, 24), normal(24, 18)
    t, weight = nc.tensor(data), nc.tensor(w)
    for start in (0, 7, 31):  # the offset is an argument of the kernel
        window = t[start : start + 20]
        close(window @ weight, data[start : start + 20].astype(float) @ w, 24)


# ---- dtypes ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("name", "tolerance"), [("float64", 1e-13), ("float16", 2e-3), ("bfloat16", 1e-2)])
def test_other_floats(name: str, tolerance: float) -> None:
    if name == "float64" and not nc.current_device().capabilities.fp64:
        pytest.skip("no float64 on this device")
    kind = np.dtype(getattr(ml_dtypes, name, name))
    for m, k, n in [(3, 4, 5), (13, 33, 17), (16, 200, 10), (70, 1100, 66), (65, 40, 128)]:
        a, b = normal(m, k).astype(kind), normal(k, n).astype(kind)
        expected = a.astype(float) @ b.astype(float)
        for left, right in (("N", "N"), ("N", "T"), ("T", "N")):
            found = stored(a, left) @ stored(b, right)
            assert found.numpy().dtype == kind
            close(found, expected, 0 if k < 1000 else 10, tolerance)


@pytest.mark.usefixtures("place")
def test_long_sums_of_halves_are_not_rounded_on_the_way() -> None:
    # 4096 ones: added up in float16 they would stop at 2048.
    ones = np.ones((20, 4096), np.float16)
    assert (nc.tensor(ones) @ nc.tensor(ones.T.copy())).numpy().tolist() == np.full((20, 20), 4096.0).tolist()


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", ["uint8", "int8", "int16", "int32", "int64"])
def test_integers_wrap_as_in_numpy(name: str) -> None:
    a, b = RNG.integers(0, 120, (13, 40)).astype(name), RNG.integers(0, 120, (40, 21)).astype(name)
    for left, right in (("N", "N"), ("T", "T")):
        assert np.array_equal((stored(a, left) @ stored(b, right)).numpy(), a @ b)


# ---- epilogues ---------------------------------------------------------------------------------------------------


def gelu(x: Any, tanh: Callable[[Any], Any]) -> Any:
    return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("m", "k", "n"), [(3, 7, 1), (3, 5, 2), (16, 128, 10), (33, 50, 65), (32, 64, 128), (20, 1200, 100)]
)
def test_what_follows_is_in_the_same_launch(m: int, k: int, n: int) -> None:
    a, w, bias, rest = normal(m, k), normal(n, k), normal(n), normal(m, n)
    x, weight, b, r = nc.tensor(a), nc.tensor(w).transpose(0, 1), nc.tensor(bias), nc.tensor(rest)
    product = a.astype(float) @ w.T + bias
    for build, expected in (
        (lambda: (x @ weight + b).relu(), np.maximum(product, 0)),
        (lambda: x @ weight + b + r, product + rest),
        (lambda: gelu(x @ weight + b, nc.tanh), gelu(product, np.tanh)),
        (lambda: (x @ weight + b).transpose(0, 1), product.T),
        (lambda: ((x @ weight + b) * 2).reshape(-1), (product * 2).reshape(-1)),
        (lambda: nc.where(r > 0, x @ weight + b, r), np.where(rest > 0, product, rest)),
    ):
        with launches() as names:
            result = build()
            result.numpy()
        assert len(names) == 1, names
        assert f"{m}x{k}x{n}" in names[0]
        close(result, expected, k)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("m", "k", "n"), [(5, 33, 12), (40, 70, 36), (18, 1500, 66)])
def test_several_outputs(m: int, k: int, n: int) -> None:
    a, w, bias = normal(m, k), normal(k, n), normal(n)
    with launches() as names:
        before = nc.tensor(a) @ nc.tensor(w) + nc.tensor(bias)
        after, halves = before.relu(), before.to(nc.float16)
        after.numpy()
    assert len(names) == 1, names
    expected = a.astype(float) @ w + bias
    close(before, expected, k)
    close(after, np.maximum(expected, 0), k)
    close(halves, expected, 0, 2e-3 if k < 1000 else 4e-3)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("m", "n"), [(30, 64), (31, 50), (9, 10), (16, 7)])
def test_a_result_that_takes_over_what_it_reads(m: int, n: int) -> None:
    """An update in place: elements at the edge must not be done twice."""
    a, b, start = normal(m, 40), normal(40, n), normal(m, n)
    for left, right in (("N", "N"), ("N", "T")):
        x, y = stored(a, left), stored(b, right)
        value, expected = nc.tensor(start), start.astype(float)
        value = value + 0
        for _ in range(3):
            value = value * 0.5 + x @ y
            value.numpy()
            expected = expected * 0.5 + a.astype(float) @ b
        close(value, expected, 80)


@pytest.mark.usefixtures("place")
def test_nan_and_infinity_stay_in_their_rows_and_columns() -> None:
    a, b, bias = normal(20, 30), normal(30, 36), normal(36)
    a[3, 4], b[5, 6], bias[7] = np.nan, np.inf, np.nan
    found = (nc.tensor(a) @ nc.tensor(b) + nc.tensor(bias)).relu().numpy()
    with np.errstate(invalid="ignore"):
        expected = a.astype(float) @ b + bias
    expected = np.where(np.isnan(expected), np.nan, np.maximum(expected, 0))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("place")
def test_gradients_of_a_layer() -> None:
    a, w, g = normal(24, 40), normal(18, 40), normal(24, 18)
    x, weight = nc.tensor(a, requires_grad=True), nc.tensor(w, requires_grad=True)
    ((x @ weight.transpose(0, 1)) * nc.tensor(g)).sum().backward()
    close(x.grad, g.astype(float) @ w, 18)
    close(weight.grad, g.T.astype(float) @ a, 24)


# ---- choices -----------------------------------------------------------------------------------------------------

CPU = Target("cpu", 8, 8192, 256, 64, architecture="avx512", vendor="advanced micro devices", device="cpu 9")


@pytest.mark.parametrize("architecture", ["avx512", "avx2", "neon", "none"])
def test_every_row_of_the_table_is_right(architecture: str, device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from netcl.graph import plan, planner

    if device.target != "cpu":
        pytest.skip("tiles of the cpu target")
    plan.clear_plans()
    row = dataclasses.replace(planner.target_for(device), architecture=architecture)
    monkeypatch.setattr(planner, "target_for", lambda _device: row)
    for m, k, n in [(13, 33, 65), (16, 128, 10), (100, 700, 70)]:
        a, b, bias = normal(m, k), normal(k, n), normal(n)
        for left, right in (("N", "N"), ("N", "T"), ("T", "N")):
            result = stored(a, left) @ stored(b, right) + nc.tensor(bias)
            close(result, a.astype(float) @ b + bias, k)
    plan.clear_plans()


def test_the_most_specific_row_is_found() -> None:
    table = {("", "", ""): 0, ("", "avx512", ""): 1, ("amd", "", ""): 2, ("amd", "", "rx"): 3, ("amd", "gfx9", ""): 4}
    for key, expected in {
        ("intel", "", "x"): 0, ("intel", "avx512", "x"): 1, ("amd", "", "vii"): 2, ("amd", "", "rx"): 3,
        ("amd", "gfx9", "q"): 4,
    }.items():  # fmt: skip
        target = dataclasses.replace(CPU, vendor=key[0], architecture=key[1], device=key[2])
        assert tiles.lookup(table, target) == expected


def test_shapes_of_tiles() -> None:
    table = tiles.CPU["", "avx512", ""]
    assert tiles.cpu_shape(table, 1024, 64) == (6, 4)
    assert tiles.cpu_shape(table, 1, 4)[0] == 1
    for rows in range(1, 40):
        for vectors in range(1, 20):
            r, v = tiles.cpu_shape(table, rows, vectors)
            assert r <= rows
            assert v <= vectors
            assert r * v + v + 1 <= 32


def test_equal_helpers_are_written_once_and_no_two_share_a_name() -> None:
    helper = "float f(float x) {\n  if (x > 0) {\n    return x;\n  }\n  return 0;\n}"
    first = (
        f"#define A(x) \\\n  (x)\n{helper}\n"
        "__kernel void one(__global float* b0) {\n  b0[get_group_id(0)] = f(A(1));\n}\n"
    )
    second = (
        f"typedef struct {{\n  int i;\n}} pair;\n{helper}\n__kernel __attribute__((reqd_work_group_size(1, 1, 1)))\n"
        "void two(__global const float* b0, const int n) {\n  f(n);\n}\n"
    )
    merged, groups = horizontal.merge_small(
        [
            KernelSource("one", first, (2,), (1,), [("buffer", 0)]),
            KernelSource("two", second, (3,), (1,), [("buffer", 1), ("number", 2)]),
        ],
        [set(), set()],
    )
    (kernel,) = merged
    assert groups == [[0, 1]]
    assert kernel.source.count("float f(float x)") == 1
    assert kernel.source.count("#define A(x) \\\n  (x)\n") == 1
    assert kernel.source.count("} pair;") == 1
    assert kernel.source.count("__kernel") == 1
    assert "b0[netcl_group]" in kernel.source
    assert kernel.global_size == (5,)
    assert kernel.arguments == [("buffer", 0), ("buffer", 1), ("number", 2)]


def test_no_operand_is_overwritten_that_another_part_reads() -> None:
    x, y, z = (Node("input", None, (), None, (), nc.float32, number) for number in range(3))
    parts = [part("a", [("buffer", x), ("buffer", y)], {(x, y)}), part("b", [("buffer", x)])]
    assert horizontal.merge_small(parts, [set(), set()])[0][0].same_element == set()
    parts[1].arguments = [("buffer", z)]
    assert horizontal.merge_small(parts, [set(), set()])[0][0].same_element == {(x, y)}


def test_what_writes_over_an_operand_goes_after_those_that_read_it() -> None:
    """The same number of launches: an update of w joins the launch after the one that reads w."""
    w, new, other = (Node("input", None, (), None, (), nc.float32, number) for number in range(3))
    update = part("update", [("buffer", w), ("buffer", new)], {(w, new)})
    reads, after = part("reads", [("buffer", w)]), part("after", [("buffer", other)])
    merged, groups = horizontal.merge_small([update, reads, after], [set(), set(), {1}])
    assert groups == [[1], [0, 2]]
    assert merged[1].same_element == {(w, new)}
    assert horizontal.merge_small([update, reads], [set(), set()])[1] == [[0, 1]]  # there is no launch after it
    assert horizontal.merge_small([update, reads, after], [set(), set(), {0, 1}])[1] == [[0, 1], [2]]  # it is needed


def test_numbers_of_several_parts_are_passed_once() -> None:
    rate, w = (Node(op, None, (), None, (), nc.float32, n) for n, op in enumerate(("scalar", "input")))
    parts = [part(name, [("buffer", w), ("scalar", rate)]) for name in ("a", "b")]
    (kernel,), _ = horizontal.merge_small(parts, [set(), set()])
    assert kernel.arguments == [("buffer", w), ("scalar", rate), ("buffer", w)]


def part(name: str, arguments: list, same_element: Any = frozenset()) -> KernelSource:
    kinds = {"buffer": "__global float* b", "scalar": "float s"}
    listed = ", ".join(f"{kinds[kind]}{n}" for n, (kind, _) in enumerate(arguments))
    text = f"__kernel void {name}({listed}) {{\n}}\n"
    return KernelSource(name, text, (1,), (1,), arguments, same_element=set(same_element))


def test_many_small_products_share_a_launch(device: Any) -> None:
    if device.target != "cpu":
        pytest.skip("only the cpu target merges")
    data = [(normal(9 + i, 700), normal(700, 30 + i)) for i in range(12)]
    operands = [(nc.tensor(a), nc.tensor(b)) for a, b in data]
    with launches() as names:
        results = [a @ b for a, b in operands]
        for result, (a, b) in zip(results, data, strict=True):
            close(result, a.astype(float) @ b, 700)
    assert len(names) == 1


def test_equal_products_share_code(device: Any) -> None:
    if device.target != "cpu":
        pytest.skip("only the cpu target merges")
    data = [(normal(21, 600), normal(600, 24)) for _ in range(9)]
    operands = [(nc.tensor(a), nc.tensor(b)) for a, b in data]
    with launches() as names:
        results = [a @ b * (n + 1.0) for n, (a, b) in enumerate(operands)]
        for n, (result, (a, b)) in enumerate(zip(results, data, strict=True)):
            close(result, (n + 1) * (a.astype(float) @ b), 600 * (n + 1))
    assert names == ["matmul_21x600x24"]


def test_dot_products_are_for_few_rows_along_k() -> None:
    def suits(m: int, k: int, n: int, a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        class Fake:
            pass

        fake = Fake()
        fake.m, fake.k, fake.n = m, k, n  # type: ignore[attr-defined]
        fake.a, fake.b = Fake(), Fake()  # type: ignore[attr-defined]
        fake.a.strides, fake.b.strides = a, b  # type: ignore[attr-defined]
        return contraction_dot.suits(fake)  # type: ignore[arg-type]

    assert suits(8, 512, 512, (0, 512, 1), (0, 1, 512))
    assert not suits(128, 512, 512, (0, 512, 1), (0, 1, 512))
    assert suits(128, 512, 10, (0, 512, 1), (0, 1, 512))
    assert not suits(8, 512, 512, (0, 512, 1), (0, 512, 1))
