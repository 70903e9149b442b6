"""nc.draw: pictures and texts of what is pending; nothing runs."""

from __future__ import annotations

import random
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import netcl as nc
from netcl.graph.layered import lay_out

SVG = "{http://www.w3.org/2000/svg}"


def pending() -> tuple[nc.Tensor, nc.Tensor, nc.Tensor]:
    w = nc.tensor(np.ones((8, 4), np.float32), requires_grad=True)
    loss = ((nc.tensor(np.ones((16, 8), np.float32)) @ w).relu() < 3).float().mean() + (w * w).sum()
    loss.backward()
    return loss, w, w.grad


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_the_picture_shows_operations_kernels_and_names():
    loss, w, gradient = pending()
    picture = nc.draw([loss, gradient], names={"w": w, "loss": loss})
    shown = texts(picture)
    assert "w.grad = add" in shown
    assert any(text.startswith("Recorded: ") for text in shown)
    assert any(text.startswith("Runs as: ") for text in shown)
    assert {"w", "relu", "loss = add"} <= set(shown)
    assert any("matmul_16x8x4" in text for text in shown)
    assert any(text.startswith("1 -> 2 ") for text in shown)


def test_drawing_changes_neither_what_is_pending_nor_the_launches(tmp_path: Path):
    with nc.profiler.count_launches() as plain:
        kept = pending()
    del kept
    with nc.profiler.count_launches() as drawn:
        kept = pending()
        for name in ("a.svg", "a.txt"):
            nc.draw(kept, tmp_path / name)
        assert int(drawn) == 0
        assert kept[0]._value.buffer is None
        assert kept[2]._value.buffer is None
    assert int(drawn) == int(plain)
    np.testing.assert_allclose(kept[2].numpy(), 2)


def test_the_file_is_written_in_the_format_asked_for(tmp_path: Path):
    x = nc.ones(3).exp()
    nc.draw(x, tmp_path / "a.svg")
    nc.draw(x, str(tmp_path / "a.txt"))
    nc.draw(x, tmp_path / "b.txt", format="svg")
    assert (tmp_path / "a.svg").read_text() == (tmp_path / "b.txt").read_text()
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag == f"{SVG}svg"
    assert (tmp_path / "a.txt").read_text().startswith("recorded on ")
    with pytest.raises(ValueError, match='format must be "svg" or "text"'):
        nc.draw(x, format="png")


def test_a_notebook_shows_pictures_and_prints_texts():
    x = nc.ones(3).exp()
    assert nc.draw(x)._repr_svg_().startswith("<svg")
    assert nc.draw(x, format="text")._repr_svg_() is None
    assert repr(nc.draw(x)).startswith("<a picture of ")
    assert repr(nc.draw(x, format="text")).startswith("recorded on ")


def test_names_with_signs_are_escaped():
    x = nc.tensor([1.0])
    y = x + 1
    assert "<a & b>" in texts(nc.draw(y, names={"<a & b>": x}))


def test_what_is_there_already_is_told():
    x = nc.tensor([1.0])
    assert texts(nc.draw(x)) == ["Nothing is pending."]
    assert "nothing is pending" in nc.draw(x, format="text")


@pytest.mark.parametrize("seed", range(5))
def test_the_layout_points_down_and_nothing_overlaps(seed: int):
    draws = random.Random(seed)
    count = 60
    sizes = [(draws.uniform(20, 200), draws.uniform(20, 80)) for _ in range(count)]
    arrows = sorted({(n, draws.randrange(n + 1, count)) for n in range(count - 1) for _ in range(2)})
    placed = lay_out(sizes, arrows)
    for (x, y), (width, height) in zip(placed.boxes, sizes, strict=True):
        assert x - width / 2 >= -0.01
        assert x + width / 2 <= placed.width + 0.01
        assert 0 <= y - height / 2 <= y + height / 2 <= placed.height + 0.01
    for a in range(count):
        for b in range(a):
            (ax, ay), (bx, by) = placed.boxes[a], placed.boxes[b]
            apart = abs(ax - bx) >= (sizes[a][0] + sizes[b][0]) / 2 or abs(ay - by) >= (sizes[a][1] + sizes[b][1]) / 2
            assert apart
    for (source, target), points in zip(arrows, placed.arrows, strict=True):
        heights = [y for _, y in points]
        assert heights == sorted(heights)
        assert heights[0] == pytest.approx(placed.boxes[source][1] + sizes[source][1] / 2)
        assert heights[-1] == pytest.approx(placed.boxes[target][1] - sizes[target][1] / 2)


def test_hundreds_of_operations_are_drawn():
    x = nc.ones(4)
    with nc.no_grad():
        for _ in range(400):
            x = x + 1
    picture = nc.draw(x)
    assert sum(text == "add" for text in texts(picture)) == 400


def test_an_input_that_is_read_far_apart_and_many_of_one_operation_are_drawn_readably():
    w = nc.tensor([2.0])
    x = w * 3
    for _ in range(5):
        x = x.exp()
    y = nc.cat([x * w] + [nc.tensor([float(n)]) for n in range(12)])
    shown = texts(nc.draw(y, names={"w": w}))
    assert shown.count("w") == 2
    assert "12 inputs" in shown
