"""What explain tells: operations, kernels, launches and memory as they then are, and why kernels are apart."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn, optim
from netcl.graph.explain import explain, watching
from netcl.graph.reasons import Reason
from netcl.ops.losses import linear

rng = np.random.default_rng(0)


def host(*shape: int, requires_grad: bool = False) -> nc.Tensor:
    return nc.tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=requires_grad)


def why(*tensors: Any) -> set[str]:
    """The reasons told; nothing is run. pytest keeps what an assert computes on its way, so tensors are made before."""
    return {edge.reason for edge in explain(tensors).edges}


def test_a_chain_is_one_kernel_with_its_operations_and_arrays(device, target):
    a, b = host(64, 10), host(10)
    y = ((a - b) ** 2).sum(1)
    found = explain(y, {"a": a, "b": b, "y": y})
    (kernel,) = found.kernels
    assert kernel.operations == ("sub", "mul", "sum")
    assert (kernel.space, kernel.reduced, kernel.kind) == ((64, 10), (1,), "rowwise")
    assert {array.name: array.bytes for array in kernel.reads} == {"a": 2560, "b": 40}
    assert [array.bytes for array in kernel.writes] == [256]
    assert found.edges == []
    assert found.reports[0].memory.results == 256
    operations = found.reports[0].operations
    assert [o.fate for o in operations if o.name == "sub"] == ["computed"]
    assert operations[-1].results[0].name == "y"
    assert operations[-1].fate == "held"
    np.testing.assert_allclose(y.numpy(), ((a.numpy() - b.numpy()) ** 2).sum(1), rtol=1e-5)


def test_explaining_leaves_all_pending_and_changes_no_launch(device):
    def made() -> list[nc.Tensor]:
        x, w = host(32, 16), host(16, 8, requires_grad=True)
        loss = (x @ w).softmax(1).log().mean()
        loss.backward()
        return [loss, w.grad]

    with nc.profiler.count_launches() as plain:
        kept = made()
    del kept
    with nc.profiler.count_launches() as explained:
        kept = made()
        values = [t._value for t in kept]
        trace = values[0].trace
        records = list(trace.records)
        for _ in range(2):
            found = explain(kept)
        assert all(value.buffer is None and value.trace is trace for value in values)
        assert trace.records == records
        assert int(explained) == 0
    assert int(explained) == int(plain) == found.launches
    assert "nothing is pending" in str(explain(kept))


def test_what_nobody_holds_is_told_as_dropped_and_is_in_no_kernel():
    x = host(8)
    x.exp()
    y = x + 1
    found = explain(y)
    assert {o.name: o.fate for o in found.reports[0].operations if o.kind != "number"} == {
        "input": "computed", "exp": "dropped", "add": "held",
    }  # fmt: skip
    assert found.kernels[0].operations == ("add",)


def test_reason_operand_of_a_matrix_product():
    x, v, w = host(8, 16), host(16, 32), host(32, 4)
    y = (x @ v).relu() @ w
    assert why(y) == {"PRODUCT_OPERAND"}


def test_reason_rows_of_a_matrix_product():
    y = (host(8, 16) @ host(16, 32)).softmax(1)
    assert why(y) == {"PRODUCT"}


def test_reason_other_axes_are_reduced():
    y = host(64, 48).softmax(1).sum(0)
    assert why(y) == {"AXES"}


def test_reason_another_iteration_space():
    y = host(7) * host(64, 100).sum(1)[0]
    assert why(y) == {"SPACE"}


def test_reason_read_at_other_places():
    x = host(32, 32)
    y = x * 2
    z = y.T + x
    assert why(y, z) == {"COORDINATES"}


def test_reason_the_whole_array_comes_first():
    x = host(300, 1000)
    y = x / x.sum()
    assert why(y) == {"TOTAL"}


def test_reason_library_kernels():
    x = host(64, 10)
    y = x.cumsum(1) * 2
    assert why(y) == {"LIBRARY"}
    y = x.exp().cumsum(1)
    assert why(y) == {"LIBRARY_OPERAND"}


def test_reason_each_would_wait_for_the_other():
    x = host(64, 10)
    y = x * 2
    z = y.cumsum(1) + y
    del y
    assert why(z) == {"LIBRARY_OPERAND", "LIBRARY", "CYCLE"}


def test_reason_a_kernel_is_full():
    x = y = host(8)
    for _ in range(900):
        y = y + x
    assert "LIMIT" in why(y)


def test_kernels_of_stages_are_explained_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(linear, "CHUNK", 32 * 10)
    x, w, target = host(64, 16, requires_grad=True), host(10, 16, requires_grad=True), nc.arange(64) % 10
    loss = F.linear_cross_entropy(x, w, target)
    loss.backward()
    assert {"PRODUCT_OPERAND", "PRODUCT"} <= why(loss, x.grad, w.grad)


def test_every_reason_reads_as_a_sentence():
    words = {"reader": "sum", "read": "t1 (exp)", "own": "64 x 10", "kernel": "64", "other": "a kernel"}
    for reason in Reason:
        assert "{" not in reason.value.format(**words)


def test_watching_reports_what_an_optimizer_step_runs(device, target):
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = optim.Adam(model.parameters())
    x, y = host(24, 16), nc.arange(24) % 4
    with nc.profiler.count_launches() as counted, watching(model) as found:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    assert len(found.reports) == 1
    assert found.launches == int(counted)
    names = {array.name for kernel in found.kernels for array in kernel.reads}
    assert {"0.weight", "0.bias", "2.weight", "2.bias"} <= names
    written = {array.name for kernel in found.kernels for array in kernel.writes}
    assert {"0.weight (new)", "0.weight.grad"} <= written
    assert found.reports[0].memory.taken_over >= sum(p.numel() * 4 for p in model.parameters())
    text = str(found)
    assert "gradient of cross_entropy(" in text
    assert "adam(" in text


def test_watching_is_for_one_thread():
    with watching() as found:
        thread = threading.Thread(target=lambda: host(4).exp().numpy())
        thread.start()
        thread.join()
    assert found.reports == []


def test_results_of_several_traces_are_told_one_after_the_other(device):
    pending: list[nc.Tensor] = []
    thread = threading.Thread(target=lambda: pending.append(nc.tensor([1.0], device=device).exp()))
    thread.start()
    thread.join()
    found = explain({"here": host(3) * 2, "there": pending})
    assert [report.kernels[0].operations for report in found.reports] == [("mul",), ("exp",)]


def test_eager_leaves_nothing_to_explain():
    with nc.eager():
        assert explain(host(3) + 1).reports == []


def test_what_is_no_tensor_is_refused():
    with pytest.raises(TypeError, match="explain: expected tensors"):
        explain(object())


def test_a_reader_of_several_kernels_tells_which_one_it_is_in():
    x, v, w = host(8, 16, requires_grad=True), host(16, 32), host(32, 4)
    loss = ((x @ v).relu() @ w).sum()
    loss.backward()
    texts = [edge.text for edge in explain([loss, x.grad]).edges if edge.reason == "ELSEWHERE"]
    assert texts == ["where is part of the kernel that makes matmul, which it needs as well"]
