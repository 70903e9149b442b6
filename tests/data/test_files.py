"""idx and csv files: what they hold, and errors that name the file."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

import netcl as nc
from netcl import data


def write_idx(path: Path, array: np.ndarray, code: int, zipped: bool = False) -> Path:
    big = array.astype(array.dtype.newbyteorder(">"))
    raw = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + big.tobytes()
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    return path


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("code", "kind"), [(8, "u1"), (9, "i1"), (0xB, "i2"), (0xC, "i4"), (0xD, "f4"), (0xE, "f8")])
def test_an_idx_file_reads_back_in_every_type(tmp_path: Path, code: int, kind: str, zipped: bool) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(kind)
    read = data.read_idx(write_idx(tmp_path / "a-idx3", array, code, zipped))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype and read.dtype.isnative and read.flags.writeable


def test_mnists_pair_of_files_is_a_dataset(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    write_idx(tmp_path / "images.gz", images, 8, zipped=True)
    write_idx(tmp_path / "labels", np.arange(5, dtype=np.uint8), 8)
    x, y = next(iter(data.DataLoader(data.IdxDataset(tmp_path / "images.gz", tmp_path / "labels"), 5)))
    np.testing.assert_array_equal(x.numpy(), images.astype(np.float32) / np.float32(255))
    assert y.dtype is nc.int64 and y.tolist() == [0, 1, 2, 3, 4]
    write_idx(tmp_path / "labels", np.arange(4, dtype=np.uint8), 8)
    with pytest.raises(ValueError, match="Size mismatch"):
        data.IdxDataset(tmp_path / "images.gz", tmp_path / "labels")


def test_damaged_idx_files_are_named(tmp_path: Path) -> None:
    good = write_idx(tmp_path / "good", np.arange(6, dtype=np.uint8), 8).read_bytes()
    for raw, reason in (
        (b"", "not an idx file"),
        (b"\x89PNG....", "not an idx file: it begins with 89 50"),
        (good[:-1], "6 bytes of elements"),
        (good + b"x", "6 bytes of elements"),
        (good[:6], "cut short"),
        (gzip.compress(good)[:-9], "gzip data are damaged"),
    ):
        (tmp_path / "bad").write_bytes(raw)
        with pytest.raises(ValueError, match=f"bad.*{reason}"):
            data.read_idx(tmp_path / "bad")


def test_csv_columns_are_int64_float64_or_strings(tmp_path: Path) -> None:
    text = 'a,b,c,d\n1,1.5,"x, ""y""",99999999999999999999\n-2,,z,1\n\n'
    (tmp_path / "t.csv").write_text("\ufeff" + text)
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write(text)
    for name in ("t.csv", "t.csv.gz"):
        table = data.read_csv(tmp_path / name)
        assert {key: column.dtype.kind for key, column in table.items()} == {"a": "i", "b": "f", "c": "U", "d": "f"}
        assert table["a"].tolist() == [1, -2] and table["c"].tolist() == ['x, "y"', "z"]
        np.testing.assert_array_equal(table["b"], [1.5, np.nan])


def test_csv_files_without_names_and_with_other_delimiters(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("1;2\n3;4\n")
    assert {k: v.tolist() for k, v in data.read_csv(tmp_path / "t.csv", ";").items()} == {"0": [1, 3], "1": [2, 4]}
    assert list(data.read_csv(tmp_path / "t.csv", ";", header=True)) == ["1", "2"]


def test_csv_errors_name_the_file_and_line(tmp_path: Path) -> None:
    for text, reason in (
        ("a,b\n1,2\n3\n", "line 3: 2 cells expected, got 1"),
        ("", "is empty"),
        ("a,a\n1,2\n", "two columns are named 'a'"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(ValueError, match=rf"bad\.csv.*{reason}"):
            data.read_csv(tmp_path / "bad.csv")


def test_a_folder_of_csv_files_is_one_dataset(tmp_path: Path) -> None:
    (tmp_path / "2.csv").write_text("x,y,z\n5,6,7\n")
    (tmp_path / "1.csv").write_text("x,y,z\n1,2,3.5\n3,4,5\n")
    (tmp_path / "notes.txt").write_text("no csv")
    dataset = data.CsvFolder(tmp_path, target="y")
    assert dataset.columns == ["x", "z"] and len(dataset) == 3
    x, y = next(iter(data.DataLoader(dataset, 3)))
    assert x.tolist() == [[1, 3.5], [3, 5], [5, 7]] and y.tolist() == [2, 4, 6]
    assert (x.dtype, y.dtype) == (nc.float32, nc.int64)
    assert data.CsvFolder(tmp_path, target="z")[0][1].dtype == np.float32


def test_folders_that_do_not_fit_are_refused_with_the_files_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file named \*\.csv"):
        data.CsvFolder(tmp_path, "y")
    (tmp_path / "1.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"1\.csv has no column 'w'"):
        data.CsvFolder(tmp_path, "w")
    (tmp_path / "2.csv").write_text("x,w\n1,2\n")
    with pytest.raises(ValueError, match=r"2\.csv has columns x, w"):
        data.CsvFolder(tmp_path, "y")
    (tmp_path / "2.csv").write_text("x,y\nred,2\n")
    with pytest.raises(ValueError, match=r"2\.csv: column 'x' holds text \('red'\)"):
        data.CsvFolder(tmp_path, "y")
