"""Windows that slide over dimensions, their sum back, and pixels exchanged with channels."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.ops.shape import apply_view, axis_of, own_copy
from netcl.tensor import Tensor

__all__: list[str] = ["channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]
METHODS = ["overlap_add", "unfold"]


# ---- one dimension -----------------------------------------------------------------------------------------------


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of a dimension, `step` apart, whose elements are a new last dimension. A view: windows may overlap.

    >>> import netcl as nc
    >>> nc.arange(5).unfold(0, 3, 2).tolist()
    [[0, 1, 2], [2, 3, 4]]
    """
    axis = axis_of("unfold", dimension, input.ndim)
    if step <= 0:
        raise RuntimeError(f"unfold: step must be positive, got {step}")
    if not input.ndim:
        input = input.reshape(1)
        if size == 0:
            return input.narrow(0, 0, 0)
        if size == 1:
            return input
    length = input._value.shape[axis]
    if not 0 <= size <= length:
        raise RuntimeError(f"unfold: size {size} must be between 0 and {length}, the size of dimension {dimension}")
    return apply_view("windows", input, (axis, size, step))


def overlap_add(input: Tensor, shape: tuple[int, ...], arg: tuple[int, int, int]) -> Tensor:
    """The sum of windows at the places where `unfold` reads them: its gradient.

    With one window's elements as rows, each row is shifted by its number: rows one element longer than the result's,
    read as one run and cut anew. The columns of the shifted rows are then added up.
    """
    axis, size, step = arg
    length = shape[axis]
    own = input._value.shape
    count = own[axis]
    if not size or not count:
        return input.new_zeros(shape)
    rank = len(shape)
    order = [a for a in range(rank) if a != axis] + [rank, axis]
    rows = input.permute(order)  # (others, size, count)
    rest = rows._value.shape[:-2]
    if step > 1:
        spaced = rows.unsqueeze(-1).pad_with_zeros([(0, 0)] * (len(rest) + 2) + [(0, step - 1)])
        rows = spaced.reshape(*rest, size, count * step).narrow(-1, 0, (count - 1) * step + 1)
    reach = rows._value.shape[-1] + size - 1
    rows = rows.pad_with_zeros([(0, 0)] * (len(rest) + 1) + [(0, reach + 1 - rows._value.shape[-1])])
    skewed = rows.reshape(*rest, size * (reach + 1)).narrow(-1, 0, size * reach).reshape(*rest, size, reach)
    total = skewed.sum(-2).to(input.dtype)
    if reach < length:
        total = total.pad_with_zeros([(0, 0)] * len(rest) + [(0, length - reach)])
    return total.movedim(-1, axis)


# ---- images ------------------------------------------------------------------------------------------------------


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels as pixels: (.., c * r * r, h, w) becomes (.., c, h * r, w * r) (Shi et al., CVPR 2016)."""
    r = upscale_factor
    _check_pixels("pixel_shuffle", input, r)
    *rest, channels, height, width = input._value.shape
    if channels % (r * r):
        raise RuntimeError(
            f"pixel_shuffle: the {channels} channels of shape {list(input.shape)} are no multiple of {r} * {r}"
        )
    n = len(rest)
    split = input.reshape(*rest, channels // (r * r), r, r, height, width)
    moved = split.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return own_copy(moved.reshape(*rest, channels // (r * r), height * r, width * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Pixels as channels: (.., c, h * r, w * r) becomes (.., c * r * r, h, w), the reverse of pixel_shuffle."""
    r = downscale_factor
    _check_pixels("pixel_unshuffle", input, r)
    *rest, channels, height, width = input._value.shape
    if height % r or width % r:
        raise RuntimeError(f"pixel_unshuffle: height and width of shape {list(input.shape)} are no multiples of {r}")
    n = len(rest)
    split = input.reshape(*rest, channels, height // r, r, width // r, r)
    moved = split.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return own_copy(moved.reshape(*rest, channels * r * r, height // r, width // r))


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels in another order: the first of each group, then the second of each, ... (Zhang et al., CVPR 2018)."""
    if input.ndim < 3:
        raise RuntimeError(f"channel_shuffle: expected at least 3 dimensions, got shape {list(input.shape)}")
    n, channels = input._value.shape[:2]
    if groups <= 0 or channels % groups:
        raise RuntimeError(f"channel_shuffle: {channels} channels can't be split into {groups} groups")
    grouped = input.reshape(n, groups, channels // groups, *input.shape[2:]).transpose(1, 2)
    return own_copy(grouped.reshape(input.shape))


def _check_pixels(name: str, input: Tensor, factor: int) -> None:
    if input.ndim < 3:
        raise RuntimeError(f"{name}: expected at least 3 dimensions (channels, height, width), got {list(input.shape)}")
    if factor <= 0:
        raise RuntimeError(f"{name}: the factor must be positive, got {factor}")


def im2col(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Patches of images as columns (F.unfold): (n, c, h, w) or (c, h, w) gives (n, c * kh * kw, patches).

    kernel_size, dilation, padding, stride: a number or a pair (rows, columns).
    """
    sizes = _pairs("unfold", kernel_size, dilation, padding, stride)
    if input.ndim not in (3, 4):
        raise RuntimeError(
            f"unfold: expected an image or a batch of images (3 or 4 dimensions), got {list(input.shape)}"
        )
    batched = input if input.ndim == 4 else input.unsqueeze(0)
    n, channels = batched._value.shape[:2]
    (kernel, _, pads, _) = sizes
    counts = _patch_counts("unfold", batched._value.shape[2:], *sizes)
    patches = batched.pad_with_zeros([(0, 0), (0, 0), *((p, p) for p in pads)])
    for axis in (0, 1):
        patches = _spread(patches, axis, *(pair[axis] for pair in sizes))
    columns = patches.permute(0, 1, 4, 5, 2, 3).reshape(n, channels * prod(kernel), prod(counts))
    return own_copy(columns if input.ndim == 4 else columns.reshape(columns._value.shape[1:]))


def _spread(x: Tensor, axis: int, kernel: int, dilation: int, pad: int, stride: int) -> Tensor:
    windows = unfold(x, 2 + axis, (kernel - 1) * dilation + 1, stride)
    return windows[..., ::dilation]


def col2im(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The sum of columns back into images (F.fold): (n, c * kh * kw, patches) gives (n, c, h, w)."""
    sizes = _pairs("fold", kernel_size, dilation, padding, stride)
    (output,) = _pairs("fold", output_size)
    if input.ndim not in (2, 3):
        raise RuntimeError(f"fold: expected columns or a batch of columns (2 or 3 dimensions), got {list(input.shape)}")
    batched = input if input.ndim == 3 else input.unsqueeze(0)
    n, height, width = batched._value.shape
    kernel, dilations, pads, strides = sizes
    if height % prod(kernel):
        raise RuntimeError(
            f"fold: the {height} rows of shape {list(input.shape)} are no multiple of the kernel {kernel}"
        )
    counts = _patch_counts("fold", output, *sizes)
    if prod(counts) != width:
        raise RuntimeError(f"fold: expected {prod(counts)} columns for an output of size {list(output)}, got {width}")
    channels = height // prod(kernel)
    image = batched.reshape(n, channels, *kernel, *counts).permute(0, 1, 4, 5, 2, 3)
    for axis in (1, 0):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        image = image.dilate(
            (*image._value.shape[:-1], reach),
            [(0, s, 1) for s in image._value.shape[:-1]] + [(0, reach, dilations[axis])],
        )
        shape = list(image._value.shape[:-1])
        shape[2 + axis] = output[axis] + 2 * pads[axis]
        image = overlap_add(image, tuple(shape), (2 + axis, reach, strides[axis]))
    for axis in (0, 1):
        image = image.narrow(2 + axis, pads[axis], output[axis])
    return own_copy(image if input.ndim == 3 else image.reshape(image._value.shape[1:]))


def _pairs(name: str, *given: Any) -> list[tuple[int, int]]:
    pairs = []
    for item in given:
        pair = (item, item) if isinstance(item, int) else tuple(item)
        pair = pair * 2 if len(pair) == 1 else pair
        if len(pair) != 2:
            raise RuntimeError(f"{name}: expected a number or a pair, got {item}")
        pairs.append(pair)
    return pairs


def _patch_counts(name: str, shape: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> tuple[int, ...]:
    if min(*kernel, *dilation, *stride) <= 0 or min(padding) < 0:
        raise RuntimeError(f"{name}: kernel_size, dilation and stride must be positive, padding not negative")
    counts = tuple(
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, d, p, s in zip(shape, kernel, dilation, padding, stride, strict=True)
    )
    if min(counts) <= 0:
        raise RuntimeError(
            f"{name}: a kernel of {list(kernel)} (dilation {list(dilation)}) does not fit into {list(shape)} "
            f"with padding {list(padding)}"
        )
    return counts
