"""L-BFGS: quasi-Newton steps from the last few changes of the gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from netcl.autograd.tape import enable_grad, no_grad
from netcl.ops.joining import cat
from netcl.optim.line_search import strong_wolfe
from netcl.optim.optimizer import Optimizer, check_not_negative
from netcl.tensor import Tensor


class LBFGS(Optimizer):
    """Liu and Nocedal (1989): up to max_iter iterations in one step; for whole batches and few parameters.

    step(closure) needs a closure that clears gradients, computes the loss, calls backward and returns the loss; it is
    called several times. Losses and products are read, so each iteration waits for the device: the algorithm decides
    by them. One parameter group. line_search_fn: None (steps of lr) or "strong_wolfe". PyTorch's arguments.

    >>> import netcl as nc
    >>> x = nc.nn.Parameter(nc.tensor([3.0]))
    >>> optimizer = nc.optim.LBFGS([x], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((x - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item()
    4.0
    >>> round(x.item(), 4)
    1.0
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        if line_search_fn not in (None, "strong_wolfe"):
            raise RuntimeError(f"only 'strong_wolfe' is supported as line_search_fn, got {line_search_fn!r}")
        super().__init__(params, {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        })  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    def _check(self, group: dict[str, Any]) -> None:
        check_not_negative(lr=group["lr"])

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run up to max_iter iterations; the loss at the start is returned."""
        if closure is None:
            raise TypeError("LBFGS.step: pass a closure that computes the loss and its gradients anew")
        function = enable_grad()(closure)
        group = self.param_groups[0]
        first = function()
        loss, gradient = float(first), self._gradient()
        state = self.state[group["params"][0]]
        state["func_evals"] = state.get("func_evals", 0) + 1
        state.setdefault("n_iter", 0)
        evaluations = 1
        for turn in range(1, group["max_iter"] + 1):
            if float(gradient.abs().amax()) <= group["tolerance_grad"]:
                break
            state["n_iter"] += 1
            direction = self._direction(state, gradient)
            slope = float((gradient * direction).sum())
            if slope > -group["tolerance_change"]:
                break
            size = group["lr"] * (min(1.0, 1.0 / float(gradient.abs().sum())) if state["n_iter"] == 1 else 1.0)
            before = loss
            state["prev_flat_grad"] = gradient
            if group["line_search_fn"] is None:
                self._move(size, direction)
                count = 0
                if turn < group["max_iter"]:
                    loss, gradient, count = float(function()), self._gradient(), 1
            else:
                start = [p.detach().clone() for p in group["params"]]
                loss, gradient, size, count = strong_wolfe(
                    functools.partial(self._evaluate, function, start, direction),
                    size, direction, loss, gradient, slope, group["tolerance_change"],
                )  # fmt: skip
                self._restore(start)
                self._move(size, direction)
            state["d"], state["t"] = direction, size
            evaluations += count
            state["func_evals"] += count
            moved = float((direction * size).abs().amax())
            tolerance = group["tolerance_change"]
            if evaluations >= group["max_eval"] or moved <= tolerance or abs(loss - before) < tolerance:
                break
        return first

    def _direction(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        """Minus the approximate inverse Hessian times the gradient, by the two loops over the kept pairs."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return _run(-gradient)
        changes, steps, inverse = state["old_dirs"], state["old_stps"], state["ro"]
        change, step = _run(gradient - state["prev_flat_grad"]), _run(state["d"] * state["t"])
        curvature = float((change * step).sum())
        if curvature > 1e-10:
            if len(changes) == self.param_groups[0]["history_size"]:
                for kept in (changes, steps, inverse):
                    kept.pop(0)
            changes.append(change)
            steps.append(step)
            inverse.append(1.0 / curvature)
            state["H_diag"] = curvature / float((change * change).sum())
        result, shares = -gradient, []
        for y, s, r in zip(reversed(changes), reversed(steps), reversed(inverse), strict=True):
            shares.append(_run((s * result).sum() * r))
            result = _run(result - y * shares[-1])
        result = result * state["H_diag"]
        for y, s, r, share in zip(changes, steps, inverse, reversed(shares), strict=True):
            result = _run(result + s * (share - (y * result).sum() * r))
        return result

    def _evaluate(self, function: Callable, start: list[Tensor], direction: Tensor, size: float) -> tuple:
        """Loss and gradient at the start plus size times the direction."""
        self._restore(start)
        self._move(size, direction)
        return float(function()), self._gradient()

    def _restore(self, start: list[Tensor]) -> None:
        for parameter, value in zip(self.param_groups[0]["params"], start, strict=True):
            parameter._assign(value._value)

    def _gradient(self) -> Tensor:
        """All gradients as one vector; zeros where there is none."""
        parts = [(p * 0.0 if p.grad is None else p.grad).detach().reshape(-1) for p in self.param_groups[0]["params"]]
        return _run(cat(parts).clone())

    def _move(self, size: float, direction: Tensor) -> None:
        place = 0
        for parameter in self.param_groups[0]["params"]:
            part = direction[place : place + parameter.numel()].reshape(parameter.shape)
            parameter._assign((parameter + part * size).to(parameter.dtype)._value)
            place += parameter.numel()


def _run(tensor: Tensor) -> Tensor:
    """Start computing now: each turn of a loop then finds the plan of the one before."""
    tensor._value.realise()
    return tensor
