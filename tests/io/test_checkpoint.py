"""Checkpoints: every value and type comes back, files are whole or absent, pickles are refused."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import netcl as nc
from netcl.io import checkpoint

DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(3, 4), (), (0, 2)], ids=str)
def test_every_dtype_and_shape_comes_back(name: str, shape: tuple, tmp_path: Path) -> None:
    dtype = getattr(nc, name)
    tensor = nc.tensor(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2).to(dtype)
    nc.save({"x": tensor}, tmp_path / "x.safetensors")
    loaded = nc.load(tmp_path / "x.safetensors")["x"]
    assert loaded.dtype is dtype
    assert loaded.shape == shape
    np.testing.assert_array_equal(loaded.numpy(), tensor.numpy())


def test_views_with_strides_are_saved_with_their_values(tmp_path: Path) -> None:
    base = nc.tensor(np.arange(24, dtype=np.float32).reshape(4, 6))
    views = {
        "t": base.t(),
        "rows": base[1:3],
        "steps": base[:, ::2],
        "flipped": base.flip(0),
        "wide": base[:1].expand(3, 6),
    }
    nc.save(views, tmp_path / "v.safetensors")
    loaded = nc.load(tmp_path / "v.safetensors")
    raw = safetensors.numpy.load_file(tmp_path / "v.safetensors")
    for name, view in views.items():
        np.testing.assert_array_equal(loaded[name].numpy(), view.numpy())
        np.testing.assert_array_equal(raw[name], view.numpy())
    nc.save({"n": nc.ones(1), "a": np.arange(6).reshape(2, 3).T}, tmp_path / "n.safetensors")
    np.testing.assert_array_equal(nc.load(tmp_path / "n.safetensors")["a"], np.arange(6).reshape(2, 3).T)


def test_nested_objects_come_back_equal(tmp_path: Path) -> None:
    saved: dict[str, Any] = {
        "state": {0: {"step": 3, "exp_avg": nc.ones(2)}, 1: {}},
        "betas": (0.9, 0.999),
        "flags": [True, None, "x"],
        "inf": float("inf"),
        "deep": [[nc.zeros(1)]],
        "a.b": nc.ones(1),
        "a": {"b": nc.zeros(1)},
        "np": np.float64(2.5),
    }
    nc.save(saved, tmp_path / "c.safetensors")
    loaded = nc.load(tmp_path / "c.safetensors")
    assert list(loaded) == list(saved)
    assert loaded["state"][0]["step"] == 3
    assert loaded["state"][0]["exp_avg"].tolist() == [1, 1]
    assert loaded["state"][1] == {}
    assert (loaded["betas"], loaded["flags"], loaded["inf"], loaded["np"]) == (
        (0.9, 0.999),
        [True, None, "x"],
        saved["inf"],
        2.5,
    )
    assert loaded["a.b"].item() == 1
    assert loaded["a"]["b"].item() == 0
    assert nc.load(_saved(nc.ones(2), tmp_path)).tolist() == [1, 1]
    assert nc.load(_saved([], tmp_path)) == []


def _saved(obj: Any, folder: Path) -> Path:
    path = folder / "one.safetensors"
    nc.save(obj, path)
    return path


def test_a_model_goes_to_pytorch_and_back_unchanged(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    ours = nc.nn.Sequential(nc.nn.Linear(3, 4), nc.nn.LayerNorm(4))
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    nc.save(ours.state_dict(), tmp_path / "a.safetensors", metadata={"epoch": "3"})
    theirs.load_state_dict(load_file(tmp_path / "a.safetensors"))
    x = np.ones((2, 3), np.float32)
    expected = ours(nc.tensor(x)).detach().numpy()
    np.testing.assert_allclose(theirs(torch.tensor(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    save_file(theirs.state_dict(), tmp_path / "b.safetensors")
    other = nc.nn.Sequential(nc.nn.Linear(3, 4), nc.nn.LayerNorm(4))
    other.load_state_dict(nc.load(tmp_path / "b.safetensors"))
    np.testing.assert_array_equal(other(nc.tensor(x)).detach().numpy(), expected)


def test_load_puts_tensors_on_the_device_asked_for(device: nc.Device, tmp_path: Path) -> None:
    nc.save({"x": nc.ones(3)}, tmp_path / "x.safetensors")
    loaded = nc.load(tmp_path / "x.safetensors", device=device)["x"]
    assert loaded.device is device
    assert loaded.tolist() == [1, 1, 1]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    nc.save({"x": nc.ones(3)}, path)

    def broken(*_args: Any, **_options: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", broken)
    with pytest.raises(OSError, match="disk full"):
        nc.save({"x": nc.zeros(3)}, path)
    assert nc.load(path)["x"].tolist() == [1, 1, 1]
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_a_saved_file_has_the_permissions_of_an_ordinary_one(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    nc.save({"x": nc.ones(1)}, path)
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    path.chmod(0o600)
    nc.save({"x": nc.ones(1)}, path)
    assert path.stat().st_mode & 0o777 == 0o600


class Trap:
    """Pickled so that loading it would create a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "model.pt", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(ValueError, match="pickle"):
        nc.load(path)
    path.write_bytes(b"PK\x03\x04 what torch.save writes")
    with pytest.raises(ValueError, match=r"safetensors\.torch\.save_file"):
        nc.load(path)
    assert not mark.exists()


def test_wrong_files_and_objects_raise_with_their_names(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    nc.save({"x": nc.ones(100)}, path)
    whole = path.read_bytes()
    for content in (b"", b"hello, this is text", whole[:-7], whole[:20]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a complete safetensors file"):
            nc.load(path)
    safetensors.numpy.save_file({"x": np.ones(1)}, path, metadata={"netcl": "{"})
    with pytest.raises(ValueError, match="damaged"):
        nc.load(path)
    safetensors.numpy.save_file({"x": np.ones(1)}, path, metadata={"netcl": '{"version": 99, "content": 1}'})
    with pytest.raises(ValueError, match="format 99"):
        nc.load(path)
    with pytest.raises(FileNotFoundError):
        nc.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="no folder"):
        nc.save({"x": nc.ones(1)}, tmp_path / "absent" / "x")
    with pytest.raises(TypeError, match=r"'model' is Linear.*state_dict"):
        nc.save({"model": nc.nn.Linear(1, 1)}, path)
    with pytest.raises(TypeError, match="keys"):
        nc.save({(1, 2): 3}, path)
    with pytest.raises(TypeError, match="metadata"):
        nc.save({"x": nc.ones(1)}, path, metadata={"epoch": 3})  # type: ignore[dict-item]


def test_load_takes_pytorchs_arguments(device, tmp_path: Path) -> None:
    nc.save({"x": nc.ones(2)}, tmp_path / "m.pt")
    loaded = nc.load(tmp_path / "m.pt", map_location=nc.device("cpu"), weights_only=True)["x"]
    assert loaded.device.kind == "cpu"
    for place in [d for d in nc.devices() if not d.error]:  # the current one, and others
        assert nc.load(tmp_path / "m.pt", place)["x"].device is place
    with pytest.raises(NotImplementedError, match="give a device"):
        nc.load(tmp_path / "m.pt", map_location=lambda storage, place: storage)
    with pytest.raises(TypeError, match="same argument"):
        nc.load(tmp_path / "m.pt", device, device=device)


def test_files_that_are_open_are_written_and_read(torch, tmp_path: Path) -> None:
    for lib in (nc, torch):
        state = {"model": lib.nn.Linear(2, 1).state_dict(), "step": 3, "half": lib.ones(2, dtype=lib.bfloat16)}
        buffer = io.BytesIO()
        lib.save(state, buffer)
        buffer.seek(0)
        with open(tmp_path / "open", "wb") as file:
            lib.save(state, file)
        with open(tmp_path / "open", "rb") as file:
            for found in (lib.load(buffer), lib.load(file), lib.load(tmp_path / "open")):
                assert found["step"] == 3 and found["half"].dtype is lib.bfloat16
                assert (found["model"]["weight"] == state["model"]["weight"]).all()
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        nc.load(io.BytesIO(b"nothing of the kind"))
