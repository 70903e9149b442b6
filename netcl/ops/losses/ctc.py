"""The loss of connectionist temporal classification: all alignments of a sequence of symbols with longer input.

Two kernels of their own, `codegen/library/ctc.py`: one finds the losses and, where a gradient may be asked for, keeps
the states of all times; the other goes back through them. A launch each, however long the sequences are.
"""

from __future__ import annotations

from typing import Any

from netcl.autograd.tape import apply, apply_composite, is_grad_enabled
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.graph.primitives import TABLE
from netcl.ops.creation import tensor
from netcl.ops.losses.arguments import check_reduction, check_tensors
from netcl.ops.sites import site
from netcl.tensor import Tensor

NEVER = float("-inf")


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: Any = "mean", zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """-log of the probability of all alignments of targets with the input.

    log_probs: log-probabilities (T, N, C), or (T, C) for one sequence. targets: (N, S), padded with anything, or all
    sequences one after the other, without `blank`. input_lengths, target_lengths: N integers, as tensor or sequence.
    The mean divides each loss by its target's length first, as in PyTorch. zero_infinity: sequences that no alignment
    fits count 0, and have no gradient, instead of inf.

    The gradient is the derivative by log_probs; PyTorch's has exp(log_probs) added, which makes no difference behind
    a log_softmax. RuntimeError for shapes, lengths and symbols that don't fit (for those in tensors, at the next read
    of a value) and for second derivatives.
    Waits for the device where targets are one after the other and target_lengths is a tensor: the longest one decides
    how much memory the states take.
    """
    name = "ctc_loss"
    reduction = check_reduction(name, reduction)
    check_tensors(name, log_probs=log_probs, targets=targets)
    if log_probs.dtype not in (dtypes.float32, dtypes.float64):
        raise NotImplementedError(f"{name}: expected log_probs of float32 or float64, got {log_probs.dtype}")
    if log_probs.ndim not in (2, 3) or 0 in log_probs.shape:
        raise RuntimeError(f"{name}: expected log_probs (T, N, C) or (T, C), got shape {list(log_probs.shape)}")
    if targets.dtype.category != 1:
        raise RuntimeError(f"{name}: expected integer targets, got {targets.dtype}")
    single = log_probs.ndim == 2
    scores = log_probs.unsqueeze(0) if single else log_probs.transpose(0, 1)
    count, times, classes = scores._value.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"{name}: blank must be one of the {classes} classes, got {blank}")
    longest, lengths = _longest(targets, target_lengths, count)
    given = _lengths("input_lengths", input_lengths, count, times, targets)
    lengths = _lengths("target_lengths", lengths, count, longest, targets)
    labels = targets if targets.numel() else targets.new_zeros(1 if targets.ndim == 1 else (count, 1))
    unknown = f"the symbol {{value}} at position {{position}} of the targets is not one of the {classes} classes"
    wrong = unknown, _says("input_lengths", times), _says("target_lengths", longest)
    sites = [site(name, labels, text, RuntimeError) for text in wrong]
    kept = scores.requires_grad and is_grad_enabled()
    arg = reduction, bool(zero_infinity), (blank, longest, targets.ndim == 1, kept)
    loss = apply_composite(name, (scores, labels, given, lengths, *sites), arg, _gradient, several=True)[0]
    return loss.reshape(()) if single and reduction == "none" else loss


# ---- arguments ---------------------------------------------------------------------------------------------------


def _longest(targets: Tensor, target_lengths: Any, count: int) -> tuple[int, Any]:
    """How many symbols a sequence may have, and the lengths."""
    if targets.ndim == 2:
        if targets.shape[0] != count:
            raise RuntimeError(f"ctc_loss: expected targets of {count} sequences, got shape {list(targets.shape)}")
        return targets.shape[1], target_lengths
    if targets.ndim != 1:
        raise RuntimeError(f"ctc_loss: expected targets (N, S) or (sum of lengths), got shape {list(targets.shape)}")
    if isinstance(target_lengths, Tensor):
        target_lengths = target_lengths.reshape(-1).numpy().tolist()
    sizes = [target_lengths] if isinstance(target_lengths, int) else [int(n) for n in target_lengths]
    if sum(sizes) != targets.shape[0] or min(sizes, default=0) < 0:
        raise RuntimeError(f"ctc_loss: target_lengths {sizes} do not add up to the {targets.shape[0]} targets")
    return max([0, *sizes]), sizes


def _says(name: str, most: int) -> str:
    return f"a length at position {{position}} of {name} is {{value}}, outside 0..{most}"


def _lengths(name: str, given: Any, count: int, most: int, like: Tensor) -> Tensor:
    """N lengths as a tensor. Those on the host are checked here, those of a tensor in the kernel."""
    if isinstance(given, Tensor):
        found = given.detach().reshape(-1)
        if found.dtype.category != 1:
            raise RuntimeError(f"ctc_loss: expected integer {name}, got {found.dtype}")
    else:
        numbers = [given] if isinstance(given, int) else [int(n) for n in given]
        for position, value in enumerate(numbers):
            if not 0 <= value <= most:
                raise RuntimeError(f"ctc_loss: {_says(name, most).format(position=position, value=value)}")
        found = tensor(numbers, dtype=dtypes.int64, device=like.device)
    if found.shape[0] != count:
        raise RuntimeError(f"ctc_loss: expected {count} {name}, got {found.shape[0]}")
    return found


# ---- losses and gradient -----------------------------------------------------------------------------------------


def _infer(operands: Any, arg: tuple) -> tuple:
    shape, dtype = TABLE["ctc_states"].infer(operands, arg[2])
    return (shape[:1] if arg[0] == "none" else (), dtype), (shape, dtype)


def _body(*operands_and_arg: Any) -> tuple:
    """The loss, and the states for the way back. The loss of each sequence lies in front of its states."""
    *operands, (reduction, zero_infinity, arg) = operands_and_arg
    states = apply("ctc_states", [Tensor._wrap(v) for v in operands], arg)
    count = states._value.shape[0]
    losses = states.slice_axes([(0, count, 1), (0, 1, 1)]).reshape(count)
    if zero_infinity:
        losses = losses.where(losses != -NEVER, 0.0)
    if reduction == "mean":
        losses = losses / _mean_divisor(Tensor._wrap(operands[3]), losses)
    return (losses if reduction == "none" else losses.sum())._value, states._value


def _mean_divisor(lengths: Tensor, like: Tensor) -> Tensor:
    """What each loss is divided by for the mean: its target's length, and the number of sequences."""
    return lengths.maximum(1).to(like.dtype) * float(lengths._value.shape[0])


def _gradient(
    g: tuple, y: tuple, scores: Tensor, labels: Tensor, given: Tensor, lengths: Tensor, *rest: Any
) -> tuple:  # fmt: skip
    """Minus the share of each class in the alignments, time by time, times what has arrived at the sequence's loss.
    Sequences that no alignment fits have no shares."""
    if is_grad_enabled():
        raise RuntimeError("ctc_loss: second derivatives are not here; call backward() without create_graph=True")
    reduction, _, arg = rest[-1]
    count, times, classes = scores.shape
    found = apply("ctc_shares", (scores, labels, given, lengths, y[1]), arg)
    shares = found.slice_axes([(0, count, 1), (0, times * classes, 1)]).reshape(count, times, classes)
    scale = g[0] / _mean_divisor(lengths, shares) if reduction == "mean" else g[0].expand(count)
    return shares * scale.reshape(count, 1, 1), *(None for _ in range(len(rest) + 2))


primitives.composite("ctc_loss", _infer, _body, autocast="float32")
