"""Draws the figures of losses.md: python docs/losses_figures.py"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import netcl as nc
import netcl.nn.functional as F

HERE = Path(__file__).resolve().parent
Curve = tuple[str, Callable[[nc.Tensor], nc.Tensor]]  # a name, and losses of a row of numbers

mpl.rcParams["svg.hashsalt"] = "netcl"  # the same file every time
mpl.rcParams["font.size"] = 9
mpl.rcParams["svg.fonttype"] = "none"  # text stays text: small files


def one(x: nc.Tensor) -> nc.Tensor:
    return nc.ones(x.shape[0])


def zero(x: nc.Tensor) -> nc.Tensor:
    return nc.zeros(x.shape[0])


def regression() -> list[Curve]:
    return [
        ("mse_loss", lambda e: F.mse_loss(e, zero(e), reduction="none")),
        ("l1_loss", lambda e: F.l1_loss(e, zero(e), reduction="none")),
        ("smooth_l1_loss, beta=0.5", lambda e: F.smooth_l1_loss(e, zero(e), reduction="none", beta=0.5)),
        ("huber_loss, delta=0.5", lambda e: F.huber_loss(e, zero(e), reduction="none", delta=0.5)),
        ("log_cosh_loss", lambda e: F.log_cosh_loss(e, zero(e), reduction="none")),
        ("quantile_loss, 0.9", lambda e: F.quantile_loss(e, zero(e), 0.9, reduction="none")),
    ]


def binary() -> list[Curve]:
    return [
        ("binary_cross_entropy_with_logits", lambda x: F.binary_cross_entropy_with_logits(
            x, one(x), reduction="none")),
        ("... pos_weight=2", lambda x: F.binary_cross_entropy_with_logits(
            x, one(x), reduction="none", pos_weight=nc.tensor(2.0))),
        ("sigmoid_focal_loss, gamma=2, alpha=-1", lambda x: F.sigmoid_focal_loss(x, one(x), alpha=-1.0)),
        ("soft_margin_loss, y=-1", lambda x: F.soft_margin_loss(x, -one(x), reduction="none")),
        ("hinge_embedding_loss, y=-1", lambda x: F.hinge_embedding_loss(x, -one(x), reduction="none")),
    ]  # fmt: skip


def two_classes(x: nc.Tensor) -> nc.Tensor:
    """Logits x and 0: rows of two classes, the first of which is right."""
    return x.unsqueeze(1).pad_with_zeros([(0, 0), (0, 1)])


def classes() -> list[Curve]:
    right = nc.zeros(401, dtype=nc.int64)
    return [
        ("cross_entropy", lambda x: F.cross_entropy(two_classes(x), right, reduction="none")),
        ("... label_smoothing=0.2", lambda x: F.cross_entropy(
            two_classes(x), right, reduction="none", label_smoothing=0.2)),
        ("... lse_square_scale=0.1", lambda x: F.cross_entropy(
            two_classes(x), right, reduction="none", lse_square_scale=0.1)),
        ("focal_loss, gamma=2", lambda x: F.focal_loss(two_classes(x), right, reduction="none")),
        ("multi_margin_loss", lambda x: F.multi_margin_loss(two_classes(x), right, reduction="none")),
    ]  # fmt: skip


def likelihood() -> list[Curve]:
    return [
        ("gaussian_nll_loss, y=0, v=1", lambda x: F.gaussian_nll_loss(x, zero(x), 1.0, reduction="none")),
        ("gaussian_nll_loss, y=0, v=0.3", lambda x: F.gaussian_nll_loss(x, zero(x), 0.3, reduction="none")),
        ("poisson_nll_loss, y=1", lambda x: F.poisson_nll_loss(x, one(x), reduction="none")),
        ("poisson_nll_loss, y=3", lambda x: F.poisson_nll_loss(x, one(x) * 3, reduction="none")),
        ("kl_div of log probabilities, y=0.5", lambda x: F.kl_div(x, one(x) * 0.5, reduction="none")),
    ]


def beside(x: nc.Tensor, y: nc.Tensor) -> nc.Tensor:
    """Vectors (x, y)."""
    return nc.stack([x, y], 1)


def pairs() -> list[Curve]:
    return [
        ("hinge_embedding_loss of x, y=1", lambda x: F.hinge_embedding_loss(x, one(x), reduction="none")),
        ("margin_ranking_loss of x and 0, y=1, margin=0.5", lambda x: F.margin_ranking_loss(
            x, zero(x), one(x), margin=0.5, reduction="none")),
        ("cosine_embedding_loss of (x, 1) and (1, 0), y=1", lambda x: F.cosine_embedding_loss(
            beside(x, one(x)), beside(one(x), zero(x)), one(x), reduction="none")),
        ("... y=-1, margin=0.2", lambda x: F.cosine_embedding_loss(
            beside(x, one(x)), beside(one(x), zero(x)), -one(x), margin=0.2, reduction="none")),
        ("triplet_margin_loss of 0, x and 1.5", lambda x: F.triplet_margin_loss(
            zero(x).unsqueeze(1), x.unsqueeze(1), one(x).unsqueeze(1) * 1.5, reduction="none")),
        ("info_nce of (x, 1), (1, 0) and (-1, 0), temperature=0.5", lambda x: F.info_nce(
            beside(x, one(x)), beside(one(x), zero(x)), nc.tensor([[-1.0, 0.0]]), 0.5, reduction="none")),
    ]  # fmt: skip


FAMILIES = {
    "regression": (regression, 2.0, "error, input - target"),
    "binary": (binary, 5.0, "input; the target is 1 unless said"),
    "classes": (classes, 5.0, "the right class's logit above the other's"),
    "likelihood": (likelihood, 2.0, "input"),
    "pairs": (pairs, 3.0, "x"),
}


def draw(name: str) -> Figure:
    """Losses on the left, their gradients on the right, as netcl computes them."""
    curves, reach, label = FAMILIES[name]
    places = np.linspace(-reach, reach, 401, dtype=np.float32)
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for title, loss in curves():
        x = nc.tensor(places, requires_grad=True)
        values = loss(x)
        values.sum().backward()
        left.plot(places, values.detach().numpy(), label=title, linewidth=1.2)
        right.plot(places, x.grad.numpy(), linewidth=1.2)
    for axes, title in ((left, "loss"), (right, "gradient")):
        axes.set(title=title, xlabel=label)
        axes.grid(linewidth=0.3)
    left.legend(fontsize=6.5)
    return figure


def main() -> None:
    for name in FAMILIES:
        path = HERE / f"losses_{name}.svg"
        draw(name).savefig(path, metadata={"Date": None})
        print(f"{path.name}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
