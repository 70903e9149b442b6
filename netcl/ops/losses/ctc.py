"""The loss of connectionist temporal classification: all alignments of a sequence of symbols with longer input.

Graves, Fernandez, Gomez, Schmidhuber: Connectionist Temporal Classification, 2006. The symbols are written with a blank
around each: 2 S + 1 states. `alpha` is the logarithm of the probability of all ways into a state, `beta` of all ways
out of it to the end; both go from one time to the next by a step that is one kernel, the same for every time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netcl.autograd import tape
from netcl.autograd.tape import apply, apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.ops.creation import iota, scalar, tensor
from netcl.ops.joining import stack
from netcl.ops.losses.arguments import check_reduction, check_tensors, new_site
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

    A launch for each time step, forward and backward. The gradient is the derivative by log_probs; PyTorch's has
    exp(log_probs) added, which makes no difference behind a log_softmax. RuntimeError for shapes, lengths and symbols
    that don't fit (for those in tensors, at the next read of a value) and for second derivatives.
    Waits for the device where targets are one after the other and target_lengths is a tensor: the result's shape
    depends on it.
    """
    name = "ctc_loss"
    reduction = check_reduction(name, reduction)
    check_tensors(name, log_probs=log_probs, targets=targets)
    if log_probs.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}: expected log_probs of float32 or float64, got {log_probs.dtype}")
    if log_probs.ndim not in (2, 3) or 0 in log_probs.shape:
        raise RuntimeError(f"{name}: expected log_probs (T, N, C) or (T, C), got shape {list(log_probs.shape)}")
    if targets.dtype.category != 1:
        raise RuntimeError(f"{name}: expected integer targets, got {targets.dtype}")
    single = log_probs.ndim == 2
    scores = log_probs.unsqueeze(1) if single else log_probs
    times, count, classes = scores._value.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"{name}: blank must be one of the {classes} classes, got {blank}")
    labels, lengths = _padded(targets, target_lengths, count)
    given = _lengths("input_lengths", input_lengths, count, times, targets)
    lengths = _lengths("target_lengths", lengths, count, labels._value.shape[1], targets)
    labels = _with_blanks(labels, lengths, blank, classes)
    losses = _losses(scores, labels, given, lengths)
    if zero_infinity:
        losses = losses.where(losses != -NEVER, 0.0)
    if reduction == "none":
        return losses.reshape(()) if single else losses
    return losses.sum() if reduction == "sum" else (losses / lengths.maximum(1).to(losses.dtype)).mean()


# ---- arguments ---------------------------------------------------------------------------------------------------


def _padded(targets: Tensor, target_lengths: Any, count: int) -> tuple[Tensor, Any]:
    """Targets as (N, S), S at least 1."""
    if targets.ndim == 2:
        if targets.shape[0] != count:
            raise RuntimeError(f"ctc_loss: expected targets of {count} sequences, got shape {list(targets.shape)}")
        return (targets if targets.shape[1] else targets.new_zeros(count, 1)), target_lengths
    if targets.ndim != 1:
        raise RuntimeError(f"ctc_loss: expected targets (N, S) or (sum of lengths), got shape {list(targets.shape)}")
    if isinstance(target_lengths, Tensor):
        target_lengths = target_lengths.reshape(-1).numpy().tolist()
    sizes = [target_lengths] if isinstance(target_lengths, int) else [int(n) for n in target_lengths]
    if sum(sizes) != targets.shape[0] or min(sizes, default=0) < 0:
        raise RuntimeError(f"ctc_loss: target_lengths {sizes} do not add up to the {targets.shape[0]} targets")
    rows, start, longest = [], 0, max([1, *sizes])
    for size in sizes:
        rows.append(targets[start : start + size].pad_with_zeros([(0, longest - size)]))
        start += size
    return stack(rows), sizes


def _lengths(name: str, given: Any, count: int, most: int, like: Tensor) -> Tensor:
    """N lengths as an int64 tensor, held in 0..most."""
    says = f"a length at position {{position}} of {name} is {{value}}, outside 0..{most}"
    if isinstance(given, Tensor):
        found = given.to(dtypes.int64).reshape(-1)
    else:
        numbers = [given] if isinstance(given, int) else [int(n) for n in given]
        for position, value in enumerate(numbers):
            if not 0 <= value <= most:
                raise RuntimeError(f"ctc_loss: {says.format(position=position, value=value)}")
        found = tensor(numbers, dtype=dtypes.int64, device=like.device)
    if found.shape[0] != count:
        raise RuntimeError(f"ctc_loss: expected {count} {name}, got {found.shape[0]}")
    site = new_site("ctc_loss", like, error=RuntimeError, says=says)
    return apply("check", (found, (found >= 0) & (found <= most), site))


def _with_blanks(labels: Tensor, lengths: Tensor, blank: int, classes: int) -> Tensor:
    """(N, 2 S + 1): a blank before, between and after the symbols; blanks where a sequence is over."""
    count, size = labels._value.shape
    labels = labels.to(dtypes.int64)
    own = iota((count, size), 1, labels.device) < lengths.unsqueeze(1)
    says = f"the symbol {{value}} at position {{position}} of the targets is not one of the {classes} classes"
    site = new_site("ctc_loss", labels, error=RuntimeError, says=says)
    labels = apply("check", (labels, ((labels >= 0) & (labels < classes)) | own.logical_not(), site))
    labels = labels.where(own, blank)
    pairs = labels.unsqueeze(2).pad_with_zeros([(0, 0), (0, 0), (1, 0)])
    pairs = pairs.where(iota((count, size, 2), 2, labels.device) == 1, blank)
    states = pairs.reshape(count, 2 * size).pad_with_zeros([(0, 0), (0, 1)])
    return states.where(iota((count, 2 * size + 1), 1, labels.device) < 2 * size, blank)


# ---- the steps ---------------------------------------------------------------------------------------------------


def _shifted(x: Tensor, by: int) -> Tensor:
    """x[:, s - by], -inf where there is none."""
    states = x._value.shape[1]
    kept = x.narrow(1, max(-by, 0), states - abs(by)).pad_with_zeros([(0, 0), (max(by, 0), max(-by, 0))])
    places = iota(x._value.shape, 1, x._value.device)
    return kept.where((places >= by) & (places < states + by), NEVER)


def _log_sum(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """log(e^a + e^b + e^c); -inf for three times -inf."""
    top = a.maximum(b).maximum(c)
    top = top.where(top != NEVER, 0.0)
    return ((a - top).exp() + (b - top).exp() + (c - top).exp()).log() + top


def _may_skip(labels: Tensor) -> Tensor:
    """States that can be entered past the blank before them: symbols other than the last one."""
    count, states = labels._value.shape
    places = iota((count, states), 1, labels._value.device)
    before = labels.narrow(1, 0, states - 2).pad_with_zeros([(0, 0), (2, 0)])
    return (places >= 3) & ((places & 1) == 1) & (labels != before)


def _forward_step(alpha: Any, scores: Any, labels: Any, lengths: Any, time: Any) -> Any:
    """alpha at `time` from the one before; sequences that are over keep theirs."""
    alpha, scores, labels, lengths, time = map(Tensor._wrap, (alpha, scores, labels, lengths, time))
    skipped = _shifted(alpha, 2).where(_may_skip(labels), NEVER)
    reached = _log_sum(alpha, _shifted(alpha, 1), skipped) + apply("gather", (scores, labels), 1)
    return reached.where((lengths > time).unsqueeze(1), alpha)._value


def _backward_step(beta: Any, scores: Any, labels: Any, lengths: Any, time: Any) -> Any:
    """beta before `time` from the one at it."""
    beta, scores, labels, lengths, time = map(Tensor._wrap, (beta, scores, labels, lengths, time))
    onward = beta + apply("gather", (scores, labels), 1)
    skipping = _shifted(onward.where(_may_skip(labels), NEVER), -2)
    return _log_sum(onward, _shifted(onward, -1), skipping).where((lengths > time).unsqueeze(1), beta)._value


def _shares(alpha: Any, beta: Any, losses: Any, g: Any, scores: Any, labels: Any, lengths: Any, time: Any) -> Any:
    """The gradient at one time: minus the probability that an alignment has each class here, times g."""
    alpha, beta, losses, g, scores, labels, lengths, time = map(
        Tensor._wrap, (alpha, beta, losses, g, scores, labels, lengths, time)
    )
    rows = losses.unsqueeze(1)
    share = (alpha + beta + rows).exp().where((rows != -NEVER) & (lengths > time).unsqueeze(1), 0.0)
    shape = (*labels._value.shape, scores._value.shape[1])
    hit = labels.unsqueeze(2) == iota(shape, 2, labels._value.device)
    total = share.unsqueeze(2).where(hit, 0.0).sum(1)
    return (-total * g.unsqueeze(1)).where(rows == rows, rows)._value


for _name, _body, _like in (
    ("ctc_forward_step", _forward_step, 0), ("ctc_backward_step", _backward_step, 0), ("ctc_shares", _shares, 4),
):  # fmt: skip
    primitives.composite(_name, lambda o, arg, n=_like: (o[n].shape, o[n].dtype), _body, autocast="float32")


def _step(op: str, *operands: Tensor) -> Tensor:
    """One step, launched at once: every time's step then finds the same plan."""
    found = apply_composite(op, operands, None, None)
    _launch(found)
    return found


def _launch(*pending: Tensor) -> None:
    for one in pending:
        one._value.realise()


# ---- the recursions ----------------------------------------------------------------------------------------------


def _losses(scores: Tensor, labels: Tensor, given: Tensor, lengths: Tensor) -> Tensor:
    """The loss of each sequence, and the way back."""
    detached = scores.detach()
    alpha = _where_places(labels, lambda places: places == 0, scores.dtype)  # before the first time: not yet begun
    _launch(detached, labels, given, lengths, alpha)
    alphas = []
    for time in range(scores._value.shape[0]):
        now = scalar(time, dtypes.int64, labels._value.device)
        alpha = _step("ctc_forward_step", alpha, detached[time], labels, given, now)
        alphas.append(alpha)
    ends = _where_places(labels, lambda places: _is_end(places, lengths), scores.dtype)
    losses = -(alpha + ends).logsumexp(1)
    _launch(losses)
    result = losses.detach()
    if scores.requires_grad and tape.is_grad_enabled():
        tape._connect("ctc_loss", _gradient, (scores, losses, labels, given, lengths, *alphas), None, (result,))
    return result


def _where_places(labels: Tensor, holds: Callable[[Tensor], Tensor], dtype: Any) -> Tensor:
    """log 1 at the states where it holds, log 0 elsewhere."""
    places = iota(labels._value.shape, 1, labels._value.device)
    return (places * 0).to(dtype).where(holds(places), NEVER)


def _is_end(places: Tensor, lengths: Tensor) -> Tensor:
    """The last symbol of a sequence and the blank behind it."""
    last = (lengths * 2).unsqueeze(1)
    return (places == last) | (places == last - 1)


def _gradient(
    g: Tensor, y: Any, scores: Tensor, losses: Tensor, labels: Tensor, given: Tensor, lengths: Tensor, *rest: Any
) -> tuple:
    """One time after the other from the last: what the classes there have in the alignments. rest: the alphas."""
    if tape.is_grad_enabled():
        raise RuntimeError("ctc_loss: second derivatives are not here; call backward() without create_graph=True")
    beta = _where_places(labels, lambda places: _is_end(places, lengths), scores.dtype)
    _launch(g, beta)
    found = []
    for time in range(len(rest) - 1, -1, -1):
        now = scalar(time, dtypes.int64, labels._value.device)
        found.append(_step("ctc_shares", rest[time], beta, losses, g, scores[time], labels, given, now))
        if time:
            beta = _step("ctc_backward_step", beta, scores[time], labels, given, now)
    return stack(found[::-1]), *(None for _ in range(len(rest) + 4))


primitives.register(
    primitives.Primitive("ctc_loss", "transfer", lambda operands, arg: (operands[1].shape, operands[1].dtype))
)  # launched step by step
