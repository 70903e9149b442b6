"""csv files as arrays, and folders of them as one dataset."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from netcl.data.dataset import ConcatDataset, TensorDataset


def read_csv(path: str | Path, delimiter: str = ",", header: bool | None = None) -> dict[str, np.ndarray]:
    """A csv file (.gz too) as one array per column: int64 or float64 where all cells are numbers, else strings.

    Empty cells in a column of numbers become nan. header: whether the first line holds the names; None: it does if
    none of its cells is a number. Without names the columns are "0", "1", ..
    ValueError, naming the line, for rows of unequal length, a name that comes twice, or an empty file.
    """
    path = Path(path)
    gzipped = path.suffix == ".gz"
    rows: list[list[str]] = []
    with (gzip.open if gzipped else open)(path, "rt", newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=delimiter)
        for row in reader:
            if not row:
                continue
            if rows and len(row) != len(rows[0]):
                raise ValueError(f"{path}, line {reader.line_num}: {len(rows[0])} cells expected, got {len(row)}")
            rows.append(row)
    if not rows:
        raise ValueError(f"{path} is empty")
    if header is None:
        header = not any(_is_number(cell) for cell in rows[0])
    names = [name.strip() for name in rows[0]] if header else [str(number) for number in range(len(rows[0]))]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}: two columns are named {twice!r}")
    columns: Iterable[Sequence[str]] = zip(*rows[header:], strict=True) if rows[header:] else [()] * len(names)
    return {name: _column(cells) for name, cells in zip(names, columns, strict=True)}


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _column(cells: Sequence[str]) -> np.ndarray:
    if all(_is_whole(cell) for cell in cells):
        return np.array([int(cell) for cell in cells], np.int64)
    if any(cell.strip() for cell in cells) and all(not cell.strip() or _is_number(cell) for cell in cells):
        return np.array([float(cell) if cell.strip() else np.nan for cell in cells], np.float64)
    return np.array(cells, np.str_)


def _is_whole(cell: str) -> bool:
    """Whether it is an integer of 64 bits."""
    try:
        return -(2**63) <= int(cell) < 2**63
    except ValueError:
        return False


class CsvFolder(ConcatDataset):
    """All csv files of a folder (*.csv, *.csv.gz) in the order of their names: sample i is (row float32, target).

    target: the name of the column to predict; int64 where it holds whole numbers, else float32. `columns` are the
    names of the others, in order. FileNotFoundError for a folder without csv files; ValueError, naming the file, for
    columns that are missing, are not those of the first file, or hold text.
    """

    def __init__(self, folder: str | Path, target: str, delimiter: str = ",", header: bool | None = None) -> None:
        paths = sorted(path for path in Path(folder).iterdir() if path.name.endswith((".csv", ".csv.gz")))
        if not paths:
            raise FileNotFoundError(f"{folder} has no file named *.csv or *.csv.gz")
        tables = [(path, read_csv(path, delimiter, header)) for path in paths]
        names = list(tables[0][1])
        if target not in names:
            raise ValueError(f"{paths[0]} has no column {target!r}; it has {', '.join(names)}")
        self.columns = [name for name in names if name != target]
        for path, table in tables:
            if list(table) != names:
                raise ValueError(f"{path} has columns {', '.join(table)}, but {paths[0]} has {', '.join(names)}")
            for name, cells in table.items():
                if cells.dtype.kind == "U":
                    raise ValueError(f"{path}: column {name!r} holds text ({str(cells[0])!r}); read it with read_csv")
        whole = all(table[target].dtype == np.int64 for _, table in tables)
        kind = np.int64 if whole else np.float32
        super().__init__(
            TensorDataset(
                np.stack([table[name] for name in self.columns], axis=1).astype(np.float32), table[target].astype(kind)
            )
            for _, table in tables
        )
