"""Modules are their functions; what does not fit is refused where and how PyTorch refuses it."""

from __future__ import annotations

import inspect
import re
import warnings
from typing import Any

import loss_cases as lc
import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn

x, y = nc.ones(2, 3), nc.zeros(2, 3)
labels, one = nc.tensor([0, 2]), nc.ones(2)
half = nc.full((2, 3), 0.5)

MODULES = {
    "CrossEntropyLoss": "cross_entropy", "NLLLoss": "nll_loss", "MSELoss": "mse_loss", "L1Loss": "l1_loss",
    "SmoothL1Loss": "smooth_l1_loss", "HuberLoss": "huber_loss", "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits", "SoftMarginLoss": "soft_margin_loss",
    "MultiLabelSoftMarginLoss": "multilabel_soft_margin_loss", "GaussianNLLLoss": "gaussian_nll_loss",
    "PoissonNLLLoss": "poisson_nll_loss", "KLDivLoss": "kl_div", "HingeEmbeddingLoss": "hinge_embedding_loss",
    "MarginRankingLoss": "margin_ranking_loss", "CosineEmbeddingLoss": "cosine_embedding_loss",
    "TripletMarginLoss": "triplet_margin_loss", "MultiMarginLoss": "multi_margin_loss",
    "TripletMarginWithDistanceLoss": "triplet_margin_with_distance_loss",
    "MultiLabelMarginLoss": "multilabel_margin_loss", "FocalLoss": "focal_loss", "DiceLoss": "dice_loss",
    "SigmoidFocalLoss": "sigmoid_focal_loss", "LogCoshLoss": "log_cosh_loss", "QuantileLoss": "quantile_loss",
    "InfoNCELoss": "info_nce",
}  # fmt: skip


OPTIONS = [
    lc.Case("cross_entropy", lc.classes),
    lc.Case("dice_loss", lc.probabilities, {"smooth": 0.3, "dim": 0}),
    lc.Case("quantile_loss", lc.pair),
    lc.Case("info_nce", lc.pair),
]


def test_a_module_gives_what_its_function_gives():
    """With each option, and with the others as they are."""
    name_of = {function: name for name, function in MODULES.items()}
    made, told = [], set()
    for case in [*OPTIONS, *lc.ALL, *lc.OWN]:
        name = name_of.get(case.name, "")
        arguments = inspect.signature(getattr(nn, name).__init__).parameters if name else {}
        if not name or not set(case.options) <= set(arguments):
            continue
        inputs, options = lc.arrays(case, 4, 3)
        options = {k: nc.tensor(v, dtype=nc.float32) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        given = [nc.tensor(v, dtype=nc.float32 if v.dtype.kind == "f" else None) for v in inputs]
        module = getattr(nn, name)(**options, reduction="sum")
        assert module.reduction == "sum"
        made.append((case.label, module(*given), getattr(F, case.name)(*given, **options, reduction="sum")))
        told |= {(name, option) for option in options}
    for label, ours, theirs in made:
        near = 1e-6 if "with_distance" in label else 0.0  # the module's own distance is rounded before the difference
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=near, atol=0, err_msg=label)
    every = {(n, a) for n in MODULES for a in inspect.signature(getattr(nn, n).__init__).parameters}
    plain = ("self", "size_average", "reduce", "reduction", "distance_function")
    assert {(n, a) for n, a in every - told if a not in plain} == set()


def test_the_module_of_ctc_gives_what_its_function_gives():
    scores = F.log_softmax(nc.randn(5, 2, 4), 2)
    given = scores, nc.tensor([[0, 1, 0], [2, 2, 2]]), [5, 4], [3, 3]
    module = nn.CTCLoss(blank=3, reduction="sum", zero_infinity=True)
    assert module(*given).item() == F.ctc_loss(*given, 3, "sum", True).item()


def test_no_reduction_is_also_called_none_in_every_loss():
    for case in [OPTIONS[0], *lc.ALL, *lc.OWN]:
        inputs, options = lc.arrays(case, 4, 3)
        found = [lc.run(nc, F, case, inputs, options, reduction, "float32")[0] for reduction in (None, "none")]
        assert found[0].ndim, case.label
        np.testing.assert_array_equal(*[loss.detach().numpy() for loss in found], err_msg=case.label)
    for name in [*MODULES, "CTCLoss"]:
        assert getattr(nn, name)(reduction=None).reduction == "none"


def test_signatures_are_pytorchs(torch):
    """The same names in the same order and the same defaults; what netcl adds comes behind."""
    functions = {case.name for case in lc.ALL} | {"ctc_loss", "cross_entropy"}
    pairs = [(f, getattr(F, f), getattr(torch.nn.functional, f)) for f in sorted(functions)]
    for name in [*MODULES, "CTCLoss"]:
        if hasattr(torch.nn, name):
            pairs.append((name, getattr(nn, name).__init__, getattr(torch.nn, name).__init__))
    for name, ours, theirs in pairs:
        mine, wanted = (inspect.signature(f).parameters for f in (ours, theirs))
        assert list(mine)[: len(wanted)] == list(wanted), name
        for argument, parameter in wanted.items():
            assert mine[argument].default == parameter.default, f"{name}({argument})"


def test_weights_are_buffers_and_move_with_the_module():
    loss = nn.BCEWithLogitsLoss(pos_weight=nc.ones(3), weight=nc.ones(3))
    assert sorted(loss.state_dict()) == ["pos_weight", "weight"]
    assert loss.to(nc.float64).pos_weight.dtype is nc.float64
    assert list(nn.CrossEntropyLoss().parameters()) == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"size_average": True}, "mean"),
        ({"size_average": False}, "sum"),
        ({"reduce": False}, "none"),
        ({"reduce": True}, "mean"),
        ({"size_average": False, "reduce": False}, "none"),
    ],
)
def test_deprecated_flags_are_understood_with_a_warning(flags, expected):
    losses = {c.name: c for c in [lc.Case("cross_entropy", lc.classes), *lc.ALL]}
    pairs = []
    for name, case in losses.items():
        if "size_average" not in inspect.signature(getattr(F, name)).parameters:
            continue
        inputs, _ = lc.arrays(case._replace(options={}), 4, 3)
        given = [nc.tensor(v, dtype=nc.float32 if v.dtype.kind == "f" else None) for v in inputs]
        with pytest.warns(UserWarning, match=f"deprecated; use reduction='{expected}'") as caught:
            loss = getattr(F, name)(*given, **flags)
        assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # kl_div's of "mean"
            pairs.append((name, loss, getattr(F, name)(*given, reduction=expected)))
    assert len(pairs) >= 17
    for name, ours, theirs in pairs:
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=name)
    with pytest.warns(UserWarning, match="deprecated"):
        assert nn.L1Loss(**flags).reduction == expected


def test_warnings_name_the_users_line():
    for loss in (F.l1_loss, F.mse_loss, F.huber_loss):
        with pytest.warns(UserWarning, match="broadcast") as caught:
            loss(x, nc.ones(3))
        assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="batchmean") as caught:
        F.kl_div(half.log(), half)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.kl_div(half.log(), half, reduction="batchmean")


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: F.l1_loss(x, y, reduction="batchmean"), ValueError, "l1_loss.*batchmean.*mean.*sum.*none"),
    (lambda: nn.HuberLoss(reduction="median"), ValueError, "HuberLoss.*median"),
    (lambda: F.l1_loss(x, 1.0), TypeError, "l1_loss.*target.*float"),
    (lambda: F.l1_loss(labels, labels), RuntimeError, "l1_loss.*int64.*float"),
    (lambda: F.l1_loss(x, y, weight=one), ValueError, r"l1_loss.*weight.*\[2\].*\[2, 3\]"),
    (lambda: F.mse_loss(x, y, weight=2.0), TypeError, "mse_loss.*weight.*float"),
    (lambda: F.smooth_l1_loss(x, y, beta=-1), RuntimeError, "smooth_l1_loss.*beta.*-1"),
    (lambda: F.huber_loss(x, y, delta=0), RuntimeError, "huber_loss.*delta.*0"),
    (lambda: F.quantile_loss(x, y, 1.0), ValueError, "quantile_loss.*quantile.*1.0"),
    (lambda: F.binary_cross_entropy(half, one), ValueError, r"binary_cross_entropy.*\[2\].*\[2, 3\]"),
    (lambda: F.binary_cross_entropy(x * 2, y).item(), RuntimeError, r"py:\d+.*position 0 is outside 0\.\.1"),
    (lambda: F.binary_cross_entropy_with_logits(x, one), ValueError, r"with_logits.*\[2\].*\[2, 3\]"),
    (lambda: F.binary_cross_entropy_with_logits(x, y, pos_weight=one), RuntimeError, r"\[2, 3\].*\[2\]"),
    (lambda: F.soft_margin_loss(x, one), RuntimeError, r"soft_margin_loss.*\[2, 3\].*\[2\]"),
    (lambda: F.sigmoid_focal_loss(x, y, gamma=-1.0), ValueError, "sigmoid_focal_loss.*gamma.*-1"),
    (lambda: F.dice_loss(x, one), ValueError, r"dice_loss.*\[2\].*\[2, 3\]"),
    (lambda: F.gaussian_nll_loss(x, y, one.reshape(1, 2)), ValueError, r"gaussian_nll_loss.*var.*\[1, 2\].*\[2, 3\]"),
    (lambda: F.gaussian_nll_loss(x, y, -1.0), ValueError, "gaussian_nll_loss.*var.*-1"),
    (lambda: F.gaussian_nll_loss(x, y, y - 1).item(), ValueError, r"py:\d+.*var is negative at position 0"),
    (lambda: F.nll_loss(x, labels[:1]), ValueError, r"nll_loss.*\[2, 3\].*\[2\].*\[1\]"),
    (lambda: F.nll_loss(nc.ones(2, 3, 4), nc.zeros(2, 5, dtype=nc.int64)), RuntimeError, r"\[2, 4\].*\[2, 5\]"),
    (lambda: F.nll_loss(x, one), RuntimeError, "nll_loss.*int64.*float32"),
    (lambda: F.nll_loss(nc.tensor(1.0), nc.tensor(0)), ValueError, "nll_loss.*0-d"),
    (lambda: F.nll_loss(x, labels, weight=one), RuntimeError, r"nll_loss.*weight.*3.*\[2\]"),
    (lambda: F.nll_loss(x, nc.tensor([0, 3])).item(), IndexError, r"nll_loss.*py:\d+.*index 3 at position 1"),
    (lambda: F.nll_loss(x, nc.tensor([-1, 0])).item(), IndexError, "index -1 at position 0"),
    (lambda: F.cross_entropy(x, labels, lse_square_scale=-1.0), ValueError, "lse_square_scale.*-1"),
    (lambda: F.focal_loss(x, labels, gamma=-1.0), ValueError, "focal_loss.*gamma.*-1"),
    (lambda: F.focal_loss(x, nc.tensor([0, 3])).item(), IndexError, r"focal_loss.*py:\d+.*index 3 at position 1"),
    (lambda: F.multi_margin_loss(x, labels, p=3), ValueError, "multi_margin_loss.*p must be 1 or 2.*3"),
    (lambda: F.multi_margin_loss(x, nc.tensor([0])), RuntimeError, r"multi_margin_loss.*\[2, 3\].*\[1\]"),
    (lambda: F.multi_margin_loss(x, nc.tensor([0, 5])).item(), IndexError, "multi_margin_loss.*index 5 at position 1"),
    (lambda: F.multilabel_margin_loss(x, labels), RuntimeError, r"multilabel_margin_loss.*\[2, 3\].*\[2\]"),
    (
        lambda: F.multilabel_margin_loss(x, nc.tensor([[0, -1, 0], [3, -1, 0]])).item(),
        IndexError,
        "multilabel_margin_loss.*index 3",
    ),
    (lambda: F.margin_ranking_loss(x, y, one), RuntimeError, r"margin_ranking_loss.*\[2, 3\].*\[2\]"),
    (lambda: F.cosine_embedding_loss(x, y, x), RuntimeError, r"cosine_embedding_loss.*\(N, D\)"),
    (lambda: F.cosine_embedding_loss(x, y, nc.ones(3)), RuntimeError, r"cosine_embedding_loss.*\[2\].*\[3\]"),
    (lambda: F.triplet_margin_loss(x, y, one), RuntimeError, r"triplet_margin_loss.*\[2, 3\].*\[2\]"),
    (lambda: F.triplet_margin_loss(x, y, x, margin=0), ValueError, "triplet_margin_loss.*margin.*0"),
    (lambda: nn.TripletMarginWithDistanceLoss(margin=-1.0), ValueError, "margin.*-1"),
    (lambda: F.info_nce(x, one), ValueError, r"info_nce.*\[2, 3\].*\[2\]"),
    (lambda: F.info_nce(x, y, temperature=0), ValueError, "info_nce.*temperature.*0"),
    (lambda: F.info_nce(x, y, nc.ones(4, 2)), ValueError, r"info_nce.*3.*\[4, 2\]"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_does_not_fit_is_refused(number):
    wrong, kind, words = WRONG[number]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(kind) as caught:
            wrong()
    assert re.search(words, str(caught.value), re.DOTALL), str(caught.value)
    assert (x + 1).sum().item() == 12  # nothing is left behind
