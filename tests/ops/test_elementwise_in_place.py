"""Elementwise operations in place leave in the tensor what the operation gives, on PyTorch's terms."""

import numpy as np
import pytest

import netcl as nc
from netcl.ops import bits, comparison, division, elementwise, special

X = np.array([0.3, 0.6, 0.9, 0.1], np.float32)
SECOND = {  # what those with more than one operand get
    "addcdiv": (X, X + 1), "addcmul": (X, X + 1), "lerp": (X + 1, 0.25), "clamp": (0.2, 0.7), "clip": (0.2, 0.7),
    "clamp_min": (0.5,), "clamp_max": (0.5,), "mvlgamma": (1,), "ldexp": (X * 0 + 2,), "logit": (0.15,),
}  # fmt: skip
PAIRS = """
    add arctan2 atan2 copysign div divide eq float_power floor_divide fmod ge greater greater_equal gt heaviside hypot
    le less less_equal logical_and logical_or logical_xor lt mul multiply ne nextafter not_equal pow remainder sub
    subtract true_divide xlogy
""".split()
WHOLE = "bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor gcd lcm".split()


def operands(library, name: str, data: np.ndarray) -> tuple:
    given = SECOND.get(name, (np.flip(data).copy(),) if name in (*PAIRS, *WHOLE) else ())
    return tuple(library.tensor(v) if isinstance(v, np.ndarray) else v for v in given)


def test_every_form_in_place_equals_pytorch(device, torch):
    names = [name for module in (elementwise, division, comparison, special) for name in module.IN_PLACE]
    made = []
    for name in [*names, *bits.IN_PLACE]:
        data = np.array([1, 2, 3, 4]) if name in (*WHOLE, "bitwise_not") else X
        if not hasattr(torch.Tensor, f"{name}_") or name == "float_power":  # PyTorch's needs float64
            continue
        ours, theirs = nc.tensor(data), torch.tensor(data)
        assert getattr(ours, f"{name}_")(*operands(nc, name, data)) is ours
        getattr(theirs, f"{name}_")(*operands(torch, name, data))
        made.append((name, ours, theirs))
    assert len(made) > 90
    for name, ours, theirs in made:
        assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1], name
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-6, atol=1e-7, err_msg=name)


def test_augmented_assignments_keep_the_tensor(device, torch):
    for library in (nc, torch):
        x = kept = library.tensor([9, -7, 5])
        x //= 2
        x %= 3
        x <<= 2
        x |= 1
        x >>= 1
        assert x is kept
        assert x.tolist() == [2, 4, 4]
        with pytest.raises(RuntimeError):
            x /= 2
