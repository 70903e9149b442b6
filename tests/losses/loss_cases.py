"""One entry for each loss: how to call it, and inputs that it takes. PyTorch's function has the same name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """`make(draws, n, c)` gives the inputs as arrays; the first `differentiable` ones have gradients."""

    name: str
    make: Callable[..., tuple]
    options: Mapping[str, Any] = MappingProxyType({})
    differentiable: int = 1
    reductions: tuple[str, ...] = ("mean", "sum", "none")

    @property
    def label(self) -> str:
        shown = [f"{k}={'..' if isinstance(v, np.ndarray) else v}" for k, v in self.options.items()]
        return f"{self.name}({', '.join(shown)})"


def normal(draws: Any, *shape: int) -> np.ndarray:
    return draws.standard_normal(shape) * 2


def pair(draws: Any, n: int, c: int) -> tuple:
    return normal(draws, n, c), normal(draws, n, c)


def probabilities(draws: Any, n: int, c: int) -> tuple:
    return draws.uniform(0.05, 0.95, (n, c)), draws.uniform(0.0, 1.0, (n, c))


def logits(draws: Any, n: int, c: int) -> tuple:
    return normal(draws, n, c), draws.uniform(0.0, 1.0, (n, c))


def signs(draws: Any, *shape: int) -> np.ndarray:
    return draws.integers(0, 2, shape) * 2.0 - 1.0


def signed(draws: Any, n: int, c: int) -> tuple:
    return normal(draws, n, c), signs(draws, n, c)


def two_and_signs(draws: Any, n: int, c: int) -> tuple:
    return normal(draws, n, c), normal(draws, n, c), signs(draws, n, c)


def rows_and_signs(draws: Any, n: int, c: int) -> tuple:
    return normal(draws, n, c), normal(draws, n, c), signs(draws, n)


def triplet(draws: Any, n: int, c: int) -> tuple:
    return normal(draws, n, c), normal(draws, n, c), normal(draws, n, c)


def gaussian(draws: Any, n: int, c: int) -> tuple:
    return normal(draws, n, c), normal(draws, n, c), draws.uniform(0.1, 2.0, (n, c))


def counts(draws: Any, n: int, c: int) -> tuple:
    return draws.uniform(0.2, 2.0, (n, c)), draws.integers(0, 6, (n, c)).astype(np.float64)


def divergence(draws: Any, n: int, c: int) -> tuple:
    x, y = normal(draws, n, c), draws.uniform(0.1, 1.0, (n, c))
    return x - np.log(np.exp(x).sum(1, keepdims=True)), y / y.sum(1, keepdims=True)


def log_divergence(draws: Any, n: int, c: int) -> tuple:
    x, y = divergence(draws, n, c)
    return x, np.log(y)


def classes(draws: Any, n: int, c: int) -> tuple:
    return normal(draws, n, c), draws.integers(0, c, n)


def log_probabilities(draws: Any, n: int, c: int) -> tuple:
    return divergence(draws, n, c)[0], draws.integers(0, c, n)


def distributions(draws: Any, n: int, c: int) -> tuple:
    return normal(draws, n, c), divergence(draws, n, c)[1]


def keys(draws: Any, n: int, c: int) -> tuple:
    return normal(draws, n, c), normal(draws, n, c), normal(draws, n + 1, c)


def layer(draws: Any, n: int, c: int) -> tuple:
    """input, weight and target of linear_mse."""
    return normal(draws, n, c), normal(draws, 3, c), normal(draws, n, 3)


def label_lists(draws: Any, n: int, c: int) -> tuple:
    lists = np.array([draws.permutation(c) for _ in range(n)])
    lists[np.arange(c) >= draws.integers(0, c + 1, (n, 1))] = -1
    return normal(draws, n, c), lists


BATCHED = ("mean", "sum", "none", "batchmean")
HALF = ("sum",)

REGRESSION = [
    Case("mse_loss", pair, {}, 2),
    Case("mse_loss", pair, {"weight": "elements"}, 2),
    Case("l1_loss", pair, {}, 2),
    Case("l1_loss", pair, {"weight": "elements"}, 2),
    Case("smooth_l1_loss", pair, {}, 2),
    Case("smooth_l1_loss", pair, {"beta": 0.3}, 2),
    Case("smooth_l1_loss", pair, {"beta": 0.0}, 2, HALF),
    Case("huber_loss", pair, {"delta": 1.5}, 2),
    Case("huber_loss", pair, {"weight": "elements"}, 2),
]
BINARY = [
    Case("binary_cross_entropy", probabilities),
    Case("binary_cross_entropy", probabilities, {"weight": "columns"}),
    Case("binary_cross_entropy_with_logits", logits, {}, 2),
    Case("binary_cross_entropy_with_logits", logits, {"weight": "columns", "pos_weight": "columns"}, 2),
    Case("soft_margin_loss", signed),
    Case("multilabel_soft_margin_loss", logits, {}, 2),
    Case("multilabel_soft_margin_loss", logits, {"weight": "columns"}, 2),
]
LIKELIHOOD = [
    Case("gaussian_nll_loss", gaussian, {}, 3),
    Case("gaussian_nll_loss", gaussian, {"full": True, "eps": 0.5}, 3),
    Case("poisson_nll_loss", counts),
    Case("poisson_nll_loss", counts, {"full": True}),
    Case("poisson_nll_loss", counts, {"log_input": False, "eps": 1e-3}),
    Case("poisson_nll_loss", counts, {"log_input": False, "full": True}),
    Case("kl_div", divergence, {}, 2, BATCHED),
    Case("kl_div", log_divergence, {"log_target": True}, 2, BATCHED),
]
PAIRS = [
    Case("hinge_embedding_loss", signed, {"margin": 0.7}),
    Case("margin_ranking_loss", two_and_signs, {}, 2),
    Case("margin_ranking_loss", two_and_signs, {"margin": 0.4}, 2),
    Case("cosine_embedding_loss", rows_and_signs, {}, 2),
    Case("cosine_embedding_loss", rows_and_signs, {"margin": 0.2}, 2),
    Case("triplet_margin_loss", triplet, {}, 3),
    Case("triplet_margin_loss", triplet, {"swap": True, "p": 1, "margin": 0.4}, 3),
    Case("triplet_margin_loss", triplet, {"p": 3, "eps": 1e-3}, 3, HALF),
    Case("triplet_margin_with_distance_loss", triplet, {"swap": True, "margin": 2.0}, 3),
]
CLASSES = [
    Case("nll_loss", log_probabilities),
    Case("nll_loss", log_probabilities, {"weight": "columns", "ignore_index": 1}),
    Case("cross_entropy", classes, {"weight": "columns", "ignore_index": 1, "label_smoothing": 0.2}),
    Case("cross_entropy", distributions, {"weight": "columns", "label_smoothing": 0.2}, 2),
    Case("multi_margin_loss", classes, {"margin": 0.8}),
    Case("multi_margin_loss", classes, {"p": 2, "weight": "columns"}),
    Case("multilabel_margin_loss", label_lists),
]
OWN = [  # PyTorch has no function of that name
    Case("focal_loss", classes),
    Case("focal_loss", classes, {"gamma": 1.0, "weight": "columns", "ignore_index": 1}),
    Case("cross_entropy", classes, {"lse_square_scale": 0.1, "ignore_index": 1}),
    Case("cross_entropy", distributions, {"lse_square_scale": 0.1}, 2),
    Case("sigmoid_focal_loss", logits, {"alpha": 0.3}, 2),
    Case("sigmoid_focal_loss", logits, {"alpha": -1.0, "gamma": 3.0}, 2),
    Case("dice_loss", probabilities, {}, 2),
    Case("log_cosh_loss", pair, {}, 2),
    Case("quantile_loss", pair, {"quantile": 0.3}, 2),
    Case("info_nce", pair, {"temperature": 0.7}, 2),
    Case("info_nce", keys, {"temperature": 0.7}, 3),
    Case("linear_mse", layer, {}, 3),
]
ALL = [*CLASSES, *REGRESSION, *BINARY, *LIKELIHOOD, *PAIRS]


def arrays(case: Case, n: int, c: int, seed: int = 0) -> tuple[tuple, dict[str, Any]]:
    """The inputs and the options as arrays (float64, or integers for classes)."""
    draws = np.random.default_rng(seed)
    inputs = case.make(draws, n, c)
    sizes = {"elements": inputs[0].shape, "columns": (c,)}
    options = {
        name: draws.uniform(0.2, 2.0, sizes[v]) if isinstance(v, str) and v in sizes else v
        for name, v in case.options.items()
    }
    return inputs, options


def run(module: Any, functional: Any, case: Case, inputs: tuple, options: dict, reduction: str, dtype: str) -> Any:
    """The loss, and the inputs that it was made of (gradients are theirs), by netcl or by PyTorch."""
    kind = getattr(module, dtype)

    def tensor(x: np.ndarray) -> Any:
        return module.tensor(x, dtype=kind if x.dtype.kind == "f" else None)

    given = [tensor(x) for x in inputs]
    for x in given[: case.differentiable]:
        x.requires_grad_()
    options = {name: tensor(v) if isinstance(v, np.ndarray) else v for name, v in options.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kl_div's of "mean"
        return getattr(functional, case.name)(*given, **options, reduction=reduction), given
