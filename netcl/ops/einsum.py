"""einsum: sums of products by the letters of dimensions, two tensors at a time as batched matrix products.

Which two come next is opt_einsum's choice (Smith and Gray, opt_einsum, JOSS 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from netcl.ops.elementwise import check_devices
from netcl.ops.linalg import matmul
from netcl.tensor import Tensor

__all__ = ["einsum"]
METHODS: list[str] = []

Label = str | int  # a letter, or the place of a dimension of the ellipsis counted from its end (-1 is the last)
Labels = list[Label]


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sums of products of dimensions named by letters: "ij,jk->ik" is the matrix product.

    What is not named behind the arrow is summed over; without an arrow the result has the letters that occur once, in
    alphabetical order. A letter twice in one operand is its diagonal; "..." are any further dimensions, broadcast.
    Instead of letters: einsum(a, [0, 1], b, [1, 2], [0, 2]).

    RuntimeError where the equation does not fit the operands.

    >>> import netcl as nc
    >>> nc.einsum("bij,bjk->bik", nc.ones(2, 3, 4), nc.ones(2, 4, 5)).shape
    netcl.Size([2, 3, 5])
    """
    if isinstance(equation, Tensor):
        equation, operands = _from_lists((equation, *operands))
    elif len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not operands:
        raise RuntimeError("einsum: expected at least one operand")
    check_devices("einsum", *operands)
    inputs, output = _labels(equation, operands)
    factors = [_prepared(tensor, labels) for tensor, labels in zip(operands, inputs, strict=True)]
    sizes = _sizes(equation, factors)
    wanted = [label for label in output if label in sizes]
    if len(wanted) != len(output):
        raise RuntimeError(f"einsum: the result of {equation!r} names a letter that no operand has")
    result, labels = _contract(_without_ones(factors, sizes), wanted)
    present = [label for label in wanted if label in labels]
    result = result.permute([labels.index(label) for label in present])
    return result.reshape([sizes[label] for label in wanted])


# ---- the equation ------------------------------------------------------------------------------------------------


def _from_lists(given: tuple) -> tuple[str, tuple]:
    """The format of operands and lists of numbers as an equation."""
    tensors, lists = list(given[0::2]), list(given[1::2])
    output = ""
    if len(tensors) > len(lists):
        output = "->" + _letters(tensors.pop())
    return ",".join(_letters(numbers) for numbers in lists) + output, tuple(tensors)


def _letters(numbers: Any) -> str:
    text = ""
    for number in numbers:
        if number is not Ellipsis and not 0 <= number < 52:
            raise RuntimeError(f"einsum: dimensions are numbered from 0 to 51, got {number}")
        text += "..." if number is Ellipsis else chr(ord("A") + number if number < 26 else ord("a") + number - 26)
    return text


def _labels(equation: str, operands: Sequence[Tensor]) -> tuple[list[Labels], Labels]:
    """The labels of each operand's dimensions and of the result's."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(operands):
        raise RuntimeError(f"einsum: {equation!r} is for {len(parts)} operands, got {len(operands)}")
    inputs = [_one(part, tensor.ndim, equation) for part, tensor in zip(parts, operands, strict=True)]
    widest = max((-label for labels in inputs for label in labels if isinstance(label, int)), default=0)
    rest: Labels = list(range(-widest, 0))
    if not arrow:
        every = [label for labels in inputs for label in labels if isinstance(label, str)]
        once: Labels = [label for label in sorted(set(every)) if every.count(label) == 1]
        return inputs, rest + once
    output: Labels = []
    before, dots, after = right.partition("...")
    for text in (before, after):
        output += _checked(text, equation)
        output += rest if dots and text is before and not (output and output[-1] == -1) else []
    if len(set(output)) != len(output):
        raise RuntimeError(f"einsum: the result of {equation!r} names a letter twice")
    return inputs, output


def _checked(text: str, equation: str) -> list[str]:
    for letter in text:
        if not (letter.isascii() and letter.isalpha()):
            raise RuntimeError(f"einsum: {letter!r} in {equation!r} is not a letter; a-z and A-Z name dimensions")
    return list(text)


def _one(part: str, rank: int, equation: str) -> Labels:
    before, dots, after = part.partition("...")
    first, last = _checked(before, equation), _checked(after, equation)
    extra = rank - len(first) - len(last)
    if extra < 0 or (extra and not dots):
        raise RuntimeError(
            f"einsum: {part!r} of {equation!r} names {len(first) + len(last)} dimensions, the operand has {rank}"
        )
    return [*first, *range(-extra, 0), *last]


# ---- one operand -------------------------------------------------------------------------------------------------


def _prepared(tensor: Tensor, labels: Labels) -> tuple[Tensor, Labels]:
    """Dimensions with the same letter become their diagonal."""
    labels = list(labels)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if tensor.shape[first] != tensor.shape[second]:
                raise RuntimeError(
                    f"einsum: {label!r} names dimensions of sizes {tensor.shape[first]} and {tensor.shape[second]} of "
                    "one operand; a diagonal needs equal sizes"
                )
            tensor = tensor.diagonal(0, first, second)
            labels = [own for place, own in enumerate(labels) if place not in (first, second)] + [label]
    return tensor, labels


def _sizes(equation: str, factors: list[tuple[Tensor, Labels]]) -> dict[Label, int]:
    sizes: dict[Label, int] = {}
    for tensor, labels in factors:
        for label, size in zip(labels, tensor.shape, strict=True):
            known = sizes.setdefault(label, size)
            if known == 1:
                sizes[label] = size
            elif size not in (1, known):
                raise RuntimeError(
                    f"einsum: {label!r} of {equation!r} has size {known} in one operand and {size} in another"
                )
    return sizes


def _without_ones(factors: list[tuple[Tensor, Labels]], sizes: dict[Label, int]) -> list[tuple[Tensor, Labels]]:
    """Dimensions of size 1 are left out: what others have there broadcasts, and the result gets its own back."""
    found = []
    for tensor, labels in factors:
        kept = [place for place, size in enumerate(tensor.shape) if size != 1]
        found.append((tensor.reshape([tensor.shape[p] for p in kept]), [labels[p] for p in kept]))
    return found


# ---- two operands ------------------------------------------------------------------------------------------------


def _contract(factors: list[tuple[Tensor, Labels]], output: Labels) -> tuple[Tensor, Labels]:
    if len(factors) == 1:
        return _summed(*factors[0], set(output))
    for chosen in _path(factors, output):
        taken = [factors[place] for place in chosen]
        factors = [factor for place, factor in enumerate(factors) if place not in chosen]
        while len(taken) > 1:
            needed = set(output).union(*(labels for _, labels in factors + taken[2:]))
            taken[:2] = [_pair(*taken[0], *taken[1], needed)]
        factors.append(taken[0])
    return _summed(*factors[0], set(output))


def _path(factors: list[tuple[Tensor, Labels]], output: Labels) -> list[tuple[int, ...]]:
    if len(factors) == 2:
        return [(0, 1)]
    import opt_einsum  # here, because importing netcl should be quick

    symbols: dict[Label, str] = {}
    for _, labels in factors:
        for label in labels:
            symbols.setdefault(label, opt_einsum.get_symbol(len(symbols)))
    parts = ["".join(symbols[label] for label in labels) for _, labels in factors]
    text = ",".join(parts) + "->" + "".join(symbols[label] for label in output if label in symbols)
    path, _ = opt_einsum.contract_path(text, *(tuple(tensor.shape) for tensor, _ in factors), shapes=True)
    return [tuple(step) for step in path]


def _summed(tensor: Tensor, labels: Labels, needed: set[Label]) -> tuple[Tensor, Labels]:
    """Without the dimensions that nobody else has."""
    gone = [place for place, label in enumerate(labels) if label not in needed]
    return (tensor.sum(gone), [label for label in labels if label in needed]) if gone else (tensor, labels)


def _pair(a: Tensor, own: Labels, b: Tensor, others: Labels, needed: set[Label]) -> tuple[Tensor, Labels]:
    """The product of two tensors, summed over what only they have: a batched matrix product, or an elementwise one."""
    a, own = _summed(a, own, needed | set(others))
    b, others = _summed(b, others, needed | set(own))
    batch = [label for label in own if label in others and label in needed]
    summed = [label for label in own if label in others and label not in needed]
    rows = [label for label in own if label not in others]
    columns = [label for label in others if label not in own]
    size = dict(zip(own + others, (*a.shape, *b.shape), strict=True))
    left = a.permute([own.index(label) for label in batch + rows + summed])
    right = b.permute([others.index(label) for label in batch + summed + columns])
    result = batch + rows + columns
    if not summed:
        left = left.reshape([*(size[label] for label in batch + rows), *[1] * len(columns)])
        middle = [*(size[label] for label in batch), *[1] * len(rows), *(size[label] for label in columns)]
        return left * right.reshape(middle), result
    b_size, m, k, n = (prod(size[label] for label in part) for part in (batch, rows, summed, columns))
    product = matmul(left.reshape(b_size, m, k), right.reshape(b_size, k, n))
    return product.reshape([size[label] for label in result]), result
