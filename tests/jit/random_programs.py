"""Random training steps: programs drawn from a grammar, run plainly and compiled, and what they leave compared.

`draw(seed)` writes the source of a program: state of every kind, a function `step` wrapped by `jit`, and a caller that
calls it several times, changes things between calls and keeps the results. `differences(source)` runs it twice.
"""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np

import netcl as nc

HEAD = """
nc.manual_seed({seed})
def t(k, *shape):
    return nc.tensor(np.random.default_rng(k).standard_normal(shape or (3, 4)).astype(np.float32))

G0, G1 = t(1), t(2)
d = {{"a": t(3), "b": t(4)}}
L = [t(5), t(6)]
class Object:
    pass
obj = Object()
obj.t, obj.u, obj.scale, obj.on = t(7), t(8), 0.5, True
W, b, M = (nc.nn.Parameter(t(9)), nc.nn.Parameter(t(10, 4)), nc.nn.Parameter(t(11, 4, 4)))
net = nc.nn.Sequential(nc.nn.Linear(4, 4), nc.nn.{middle}, nc.nn.Tanh())
opt = nc.optim.{optimizer}
{schedule}
V = {V}

def helper(p, q):
    return {helper}

@jit
def inner(p, q):
    return {inner}
"""
OPTIMIZERS = (
    "SGD([W, b, M, *net.parameters()], lr=0.1)",
    "SGD([W, b, M], lr=0.1, momentum=0.9, nesterov=True)",
    "Adam([W, b, M, *net.parameters()], lr=0.01)",
    "AdamW([{'params': [W, M]}, {'params': [b], 'lr': 0.2}], lr=0.01)",
    "RMSprop([W, b, M], lr=0.01, momentum=0.5)",
    "Adagrad([W, b, M], lr=0.1)",
    "Adadelta([W, b, M], lr=0.5)",
    "NAdam([W, b, M], lr=0.01)",
)
SCHEDULES = (
    "sched = nc.optim.lr_scheduler.StepLR(opt, 2, 0.5)",
    "sched = nc.optim.lr_scheduler.ExponentialLR(opt, 0.9)",
    "sched = nc.optim.lr_scheduler.CosineAnnealingLR(opt, 5)",
    "sched = nc.optim.lr_scheduler.LambdaLR(opt, lambda n: 1 / (n + 1))",
)
MIDDLES = ("Dropout(0.3)", "BatchNorm1d(4)", "ReLU()")
BUFFERS = ("G0", "G1", "d['a']", "d['b']", "L[0]", "L[1]", "obj.t", "obj.u", "c0", "c1")
PARAMETERS = ("W", "b", "M")


class Draw:
    """One program."""

    def __init__(self, seed: int, reads: bool | None = None):
        self.random = random.Random(seed)
        self.seed = seed
        self.locals: list[str] = []
        self.views: list[str] = []  # of other shapes
        self.count = 0
        self.lines: list[str] = []
        self.calm = self.random.random() < 0.6  # calls are much alike
        self.reads = self.random.random() < 0.1 if reads is None else reads
        self.python = self.random.random() < 0.06

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def name(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    # ---- expressions ----

    def atom(self) -> str:
        pool = ["x", "y", "x", "W", *self.pick(BUFFERS[:4], BUFFERS[4:]), *self.locals, *self.locals]
        return str(self.pick(*pool))

    def expression(self, depth: int = 2) -> str:
        """A tensor of shape (3, 4)."""
        if depth == 0 or self.random.random() < 0.15:
            return self.atom()
        a = self.expression(depth - 1)
        kind = self.random.randrange(24)
        if kind < 8:
            second = self.pick(self.atom(), self.expression(depth - 1))
            return f"({a} {self.pick('+', '*', '-')} {second})"
        simple = {
            8: f"{a}.tanh()", 9: f"{a}.relu()", 10: f"({a} * lr)", 11: f"({a} + b)", 12: f"({a} @ M)",
            13: f"net({a})", 14: f"({a} - {a}.mean(0))", 15: f"F.dropout({a}, 0.3, {self.pick('True', 'obj.on')})",
            16: f"({a} + nc.randn(3, 4))", 17: f"inner({a}, {self.atom()})", 18: f"helper({a}, {self.atom()})",
            19: f"nc.cat(({a}[:1], {self.atom()}[1:]))", 20: f"nc.where({a} > 0, {a}, {self.atom()})",
            21: f"({a} * obj.scale)", 22: f"{a}.{self.pick('detach', 'clone', 'contiguous', 'sigmoid')}()",
            23: f"{a}.flip(0)",
        }  # fmt: skip
        return simple[kind]

    def target(self) -> str:
        """What may be written to (outside of a graph of its own)."""
        pool = [*BUFFERS, *self.locals, *self.locals, "x", "y", "V"]
        return str(self.pick(*pool))

    # ---- statements ----

    def statement(self, depth: int = 0) -> list[str]:
        kind = self.random.randrange(30)
        if kind < 5:
            made = self.name("t")
            line = f"{made} = {self.expression()}"
            self.locals.append(made)
            return [line]
        if kind < 7:
            made = self.name("t")
            source = self.pick(*BUFFERS, *self.locals, "x", "W")
            view = self.pick(".detach()", ".view(3, 4)", "[:]", ".T.T", ".reshape(12).view(3, 4)", "")
            line = f"{made} = {source}{view}"
            self.locals.append(made)
            return [line]
        if kind < 12:
            return [self.write(self.target())]
        if kind == 12:
            return [self.pick(
                "G0, G1 = G1, G0", "d['a'], d['b'] = d['b'], d['a']", "L[0], L[1] = L[1], L[0]",
                "obj.t, obj.u = obj.u, obj.t", "c0, c1 = c1, c0", "G0, obj.t = obj.t, G0", "d['a'] = L[1]",
            )]  # fmt: skip
        if kind < 15:
            value = self.expression()
            value = f"({value}).detach()" if self.random.random() < 0.8 else value
            return [self.pick(f"{self.pick(*BUFFERS)} = {value}",
                              f"G0 = obj.u = {value}", f"d['b'] = c1 = {value}")]  # fmt: skip
        if kind < 19:
            loss = self.name("s")
            lines = [f"{loss} = ({self.expression()} * W).{self.pick('sum()', 'mean()', 'pow(2).sum()')}"]
            if self.random.random() < 0.7:
                lines.insert(0, self.pick("opt.zero_grad()", "opt.zero_grad(set_to_none=False)", "W.grad = None", ""))
            if self.random.random() < 0.15:
                lines[-1:] = ["with nc.autocast(dtype=nc.bfloat16):", f"    {lines[-1]}"]
            lines.append(f"if {loss}.requires_grad: {loss}.backward({self.pick('', '', 'retain_graph=True')})")
            if self.random.random() < 0.3:
                lines.append("nc.nn.utils.clip_grad_norm_([W], 1.0)")
            if self.random.random() < 0.6:
                lines.append("opt.step()")
            if self.random.random() < 0.3 and not depth:
                lines.append("sched.step()")
            return [line for line in lines if line]
        if kind < 22:
            return [self.pick(
                "W.grad = None", "opt.zero_grad()", "opt.step()", f"W.grad = ({self.expression()}).detach()",
                "if W.grad is not None: W.grad.mul_(0.5)", "if W.grad is not None: W.grad.zero_()",
                "if W.grad is not None: W.grad = W.grad + 1", "if W.grad is not None: L[0] = W.grad",
                "b.grad = None", "if W.grad is not None: W.data.add_(W.grad, alpha=-lr)",
                "opt.param_groups[0]['lr'] = lr", "M.grad = None", "if W.grad is not None: d['a'].copy_(W.grad)",
            )]  # fmt: skip
        if kind == 22 and depth < 2:
            body = [line for _ in range(self.random.randint(1, 2)) for line in self.without_graph(depth)]
            return ["with nc.no_grad():", *[f"    {line}" for line in body]]
        if kind in (23, 24) and self.reads:
            return self.reading(depth)
        if kind == 24 and self.python:
            return [self.pick("obj.scale = obj.scale * 0.9", "obj.on = not obj.on", "d['n'] = d.get('n', 0) + 1")]
        if kind == 25 and depth < 2:
            body = self.statement(depth + 1)
            head = self.pick("if k:", "if lr > 0.15:", "for _ in range(2):", "if obj.on:")
            return [head, *[f"    {line}" for line in body]]
        if kind == 26:
            return [self.pick("net.train()", "net.eval()", "net.train(obj.on)")]
        if kind == 27:
            return [self.pick("W.requires_grad_(k)", "M.requires_grad_(False)", "M.requires_grad_(True)")]
        if kind == 28:
            made = self.name("t")
            self.locals.append(made)
            value = self.pick("nc.zeros(3, 4)", "nc.randn(3, 4)", "nc.full((3, 4), lr)", "nc.zeros_like(x)")
            return [f"{made} = {value}"]
        return [self.write(self.target())]

    def reading(self, depth: int) -> list[str]:
        """A value is read, and what follows depends on it or not."""
        read = (
            f"({self.expression(1)}).{self.pick('sum()', 'mean()', 'argmax()', 'max().round().int()', 'flatten()[0]')}"
        )
        body = [f"    {line}" for line in self.statement(2)]
        number = self.name("q")
        return self.pick(
            [f"{number} = {read}.item()", self.write(self.target()).replace("lr", number)],
            [f"{number} = {read}.item()", f"G1 = G1 * 0.5 + {number}"],
            [f"{number} = {read}.item()", f"if {number} > 0.5:", *body],
            [f"if {read} > 0:", *body],
            [f"if ({self.atom()} > 0).all():", *body],
            [f"if {read}.isfinite().item():", *body],
            [f"d['a'] = d['a'] + {read}.item() * lr"],
            [f"opt.param_groups[0]['lr'] = 0.1 + 0.01 * abs({read}.item())"] if self.python else ["pass"],
        )

    def without_graph(self, depth: int) -> list[str]:
        if self.random.random() < 0.5:
            return [self.write(self.pick(*PARAMETERS[:1], "W.data", "V", *BUFFERS))]
        return self.statement(depth + 1)

    def write(self, target: str) -> str:
        value = self.expression(1)
        line = str(self.pick(
            f"{target}.add_({value})", f"{target}.mul_(0.9)", f"{target}.copy_({value})", f"{target}.clamp_(-2, 2)",
            f"{target}[1] = {value}[0]", f"{target}[0] += {value}[1]", f"{target}[:, 1:3] = lr",
            f"{target}[1:].mul_({value}[1:])", f"{target}.T.sub_(0.1)", f"{target}.view(-1)[2:5].fill_(lr)",
            f"{target}.detach().copy_({value})", f"{target}.zero_()", f"{target}.lerp_({value}, 0.1)",
            f"{target}.tanh_()", f"{target}.add_({target})", f"{target}[1:].copy_({target}[:-1].clone())",
            f"{target}.sub_(lr)", f"{target}.T[0].add_({value}[:, 1])", f"{target} = {target} + 1",
            f"{target} += {value}", f"{target}.normal_()", f"{target}.masked_fill_({value} > 0, 0.5)",
        ))  # fmt: skip
        return line.replace("V = V + 1", "V.add_(1)").replace("V += ", "V[:1] += ").replace("W.data = ", "W.data[:] = ")

    def result(self) -> str:
        tensor = self.pick(self.expression(), *BUFFERS, *self.locals, *self.locals, *self.locals)
        other = self.pick(*BUFFERS, *self.locals, "x", "W", "W.grad", f"{tensor}[1:]", f"{tensor}.detach()")
        if self.reads and self.random.random() < 0.5:
            return (
                f"({tensor}).sum().item()" if self.random.random() < 0.5 else f"[{other}, ({tensor}).mean().item() * 2]"
            )
        return str(self.pick(
            tensor, tensor, f"({tensor}).sum()", f"({tensor}).sum(1).double(), ({tensor} > 0).sum()",
            f"({tensor}).double().sum(), ({tensor}).sum(0)", f"({tensor}, {other})", f"[{other}, {other}, 3]",
            f"{{'one': {tensor}, 'two': [{other}, lr]}}", f"{other}", "None", f"({tensor}).T",
            f"({tensor}, {tensor})", f"({tensor}, lr * 2, k)",
        ))  # fmt: skip

    # ---- the program ----

    def caller(self) -> list[str]:
        lines = ["kept = []"]
        plan = ["X", "Y"] if self.calm else [self.argument(k) for k in range(2)]
        for call in range(self.random.randint(6, 8)):
            if self.calm:
                plan = [f"t({20 + call})", self.pick(plan[1], f"t({30 + call})", "X")]
            if self.random.random() < (0.05 if self.calm else 0.25):
                plan = [self.argument(call) for _ in range(2)]
            if self.random.random() < (0.15 if self.calm else 0.35):
                lines.append(self.between(call))
            rate = self.pick("0.1", "0.1", f"{0.1 + 0.01 * call}", "0.2")
            flag = "True" if self.calm else self.pick("True", "True", "True", "False")
            step = "step"
            if self.random.random() < (0.02 if self.calm else 0.1):
                lines.append(f"with nc.no_grad(): r = step({plan[0]}, {plan[1]}, {rate}, {flag})")
            else:
                lines.append(f"r = {step}({plan[0]}, {plan[1]}, lr={rate}, k={flag})")
            lines.append(self.pick("kept.append(r)", "kept.append(r)", "kept.append(r)", "r = None", "look(r)",
                                   "kept.append(r); look(r)"))  # fmt: skip
            if self.random.random() < 0.1:
                lines.append("outside(r)")
        return lines

    def argument(self, call: int) -> str:
        return str(self.pick(
            f"t({20 + call})", f"t({20 + call})", f"t({20 + call})", "X", "X", "Y", "G0", "d['a']", "W", "W.detach()",
            "X.T.T", "L[0].view(3, 4)", "t(50).requires_grad_()", "Z", "last(kept)", "X.detach()",
        ))  # fmt: skip

    def between(self, call: int) -> str:
        return str(self.pick(
            "G0 = t(70)", "G0.add_(1)", "d['a'] = t(71)", "L[1].mul_(0.5)", "obj.t = t(72)", "obj.scale = 0.25",
            "obj.on = not obj.on", "net.eval()", "net.train()", "W.grad = None", "look(W)", "look(G0)",
            "opt.zero_grad()", "last(kept).detach().add_(1)", "W.requires_grad_(not W.requires_grad)",
            "opt.param_groups[0]['lr'] = 0.05", "kept.append(d['a'])", "kept.append(W.grad)", "kept.append(G0[1:])",
            "with nc.no_grad(): W.mul_(0.9)", "nc.manual_seed(5)", "kept.append(W.detach())", "X.add_(1)",
            "d['a'] = G0", "kept.append(obj.t.clone())", "L[0] = L[1]", "G0 = X", "net[0].weight.grad = None",
            "sched.step()", "kept.clear()",
        ))  # fmt: skip

    def source(self) -> str:
        helper = self.pick("p + q * G1", "p * obj.scale + q", "(p * q).tanh()", "p + d['b']")
        inner = self.pick("p * q + G0", "(p @ M) + q", "p.relu() + q.detach()", "p + nc.randn(3, 4) * q", "p - lr0 * q")
        head = HEAD.format(
            seed=self.seed, middle=self.pick(*MIDDLES), optimizer=self.pick(*OPTIMIZERS),
            schedule=self.pick(*SCHEDULES), V=self.pick("t(17)", "t(17)", "W.detach()[1:]"), helper=helper, inner=inner,
        )  # fmt: skip
        body = [line for _ in range(self.random.randint(2, 8)) for line in self.statement()]
        body.append(f"return {self.result()}")
        lines = [
            head, "lr0 = 0.3", "X, Y, Z = t(12), t(13), t(14).requires_grad_()",
            "def last(kept):",
            "    fit = [r for r in kept if isinstance(r, nc.Tensor) and r.shape == (3, 4)]",
            "    return fit[-1].detach() if fit else X",
            "def make(c0, c1):", "    def step(x, y, lr, k):", "        nonlocal c0, c1", "        global G0, G1",
            *[f"        {line}" for line in body], "    return step, lambda: (c0, c1)",
            "step, cells = make(t(15), t(16))", "step = jit(step)", *self.caller(),
        ]  # fmt: skip
        return "\n".join(lines) + "\n"


def draw(seed: int, reads: bool | None = None) -> str:
    """The source of a program. `reads`: whether it may read values."""
    return Draw(seed, reads).source()


# ---- running ---------------------------------------------------------------------------------------------------------


def tensors_of(item: Any, name: str, found: list[tuple[str, Any]]) -> None:
    """Add every tensor and number in containers, with its name."""
    if isinstance(item, nc.Tensor):
        found.append((name, item))
    elif isinstance(item, (list, tuple)):
        for place, part in enumerate(item):
            tensors_of(part, f"{name}[{place}]", found)
    elif isinstance(item, dict):
        for key, part in item.items():
            tensors_of(part, f"{name}[{key!r}]", found)
    elif isinstance(item, (int, float, str)) or item is None:
        found.append((name, item))


def run(source: str, wrap: Any) -> list[tuple[str, Any]]:
    """Everything that a program leaves, as (name, description)."""
    looked: list[Any] = []

    def look(item: Any) -> None:
        found: list[tuple[str, Any]] = []
        tensors_of(item, "looked", found)
        looked.extend(item.numpy().copy() if isinstance(item, nc.Tensor) else item for _, item in
                      [(n, i.detach() if isinstance(i, nc.Tensor) else i) for n, i in found])  # fmt: skip

    def outside(result: Any) -> None:
        found: list[tuple[str, Any]] = []
        tensors_of(result, "", found)
        for _, item in found[:1]:
            if isinstance(item, nc.Tensor) and item.requires_grad and item.grad_fn is not None:
                item.sum().backward()

    space: dict[str, Any] = {
        "nc": nc, "np": np, "F": nc.nn.functional, "jit": wrap, "look": look, "outside": outside,
        "__name__": "__main__",
    }  # fmt: skip
    exec(compile(source, "<program>", "exec"), space)
    found: list[tuple[str, Any]] = []
    obj = space["obj"]
    for name in ("kept", "G0", "G1", "d", "L", "W", "b", "M", "V", "X", "Y", "Z"):
        tensors_of(space[name], name, found)
    tensors_of(space["cells"](), "cells", found)
    tensors_of(vars(obj), "obj", found)
    tensors_of(dict(space["net"].state_dict()), "net", found)
    parameters = [*[space[n] for n in PARAMETERS], *space["net"].parameters()]
    tensors_of([p.grad for p in parameters], "grad", found)
    tensors_of(space["Z"].grad, "Z.grad", found)
    tensors_of(space["opt"].state_dict(), "opt", found)
    tensors_of(space["sched"].state_dict(), "sched", found)
    order: dict[int, int] = {}
    seen: list[tuple[str, Any]] = [("looked", looked)]
    for name, item in found:
        if isinstance(item, nc.Tensor):
            which = order.setdefault(id(item), len(order))
            seen.append((f"{name} is", which))
            seen.append((f"{name} about", (item.requires_grad, item.grad_fn is None, item.shape, item.stride())))
            seen.append((f"{name} elements", item.detach().numpy().copy()))
        else:
            seen.append((name, item))
    # who shares elements with whom: write to each in turn, and look at all again
    unique = list({id(item): item for _, item in found if isinstance(item, nc.Tensor)}.values())
    with nc.no_grad():
        for place, item in enumerate(unique):
            if item.dtype is nc.float32:
                item.view(-1)[:1].add_(float(2 ** (place % 7))) if item.is_contiguous() else item.mul_(1.5)
    seen += [(f"{name} shared", item.detach().numpy().copy()) for name, item in found if isinstance(item, nc.Tensor)]
    return seen


def same(one: Any, two: Any, tolerance: float = 0.0) -> bool:
    """Whether two descriptions are equal, arrays bit for bit where there is no tolerance."""
    if isinstance(one, np.ndarray):
        return isinstance(two, np.ndarray) and one.shape == two.shape and one.dtype == two.dtype and (
            one.tobytes() == two.tobytes() or np.allclose(one, two, tolerance, tolerance, equal_nan=True)
        )  # fmt: skip
    if isinstance(one, list):
        return len(one) == len(two) and all(same(a, b, tolerance) for a, b in zip(one, two, strict=True))
    if type(one) is float and type(two) is float and tolerance:
        return bool(np.isclose(one, two, tolerance, tolerance, equal_nan=True))
    return type(one) is type(two) and (one == two or one != one)


class Invalid(Exception):
    """The program raises as it stands."""


def differences(source: str, **options: Any) -> list[str]:
    """What differs between the program plain and compiled; Invalid where it raises without being compiled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            plain = run(source, lambda function: function)
        except Exception as error:
            raise Invalid(f"{type(error).__name__}: {error}") from error
        compiled = run(source, lambda function: nc.jit_compile(function, **options))
    if [name for name, _ in plain] != [name for name, _ in compiled]:
        return ["other names"]
    # what is planned together differs, and with it the order in which sums are added up
    step = source[source.index("def step(") :]
    rounding = 0.1 if "bfloat16" in step else 1e-3
    sums = ("sum()", "mean(", "@", "net(", "inner(", "opt.step()")
    tolerance = rounding if any(word in step for word in sums) else 0.0
    return [
        f"{name}: {one!r} plain, {two!r} compiled"
        for (name, one), (_, two) in zip(plain, compiled, strict=True)
        if not same(one, two, tolerance)
    ]
