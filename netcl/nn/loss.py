"""Losses as modules, and as functions where the documents look for them.

mean divides by the number of elements (mse) or by the sum of the kept weights (cross_entropy), as in PyTorch;
"batchmean" divides by the first size. Value and gradient are one pass over memory when both are pending.
"""

from netcl.nn.losses.binary import (
    BCELoss,
    BCEWithLogitsLoss,
    DiceLoss,
    MultiLabelSoftMarginLoss,
    SigmoidFocalLoss,
    SoftMarginLoss,
)
from netcl.nn.losses.classes import CrossEntropyLoss, FocalLoss, MultiLabelMarginLoss, MultiMarginLoss, NLLLoss
from netcl.nn.losses.likelihood import CTCLoss, GaussianNLLLoss, KLDivLoss, PoissonNLLLoss
from netcl.nn.losses.linear import LinearCrossEntropyLoss
from netcl.nn.losses.pairs import (
    CosineEmbeddingLoss,
    HingeEmbeddingLoss,
    InfoNCELoss,
    MarginRankingLoss,
    PairwiseDistance,
    TripletMarginLoss,
    TripletMarginWithDistanceLoss,
)
from netcl.nn.losses.regression import HuberLoss, L1Loss, LogCoshLoss, MSELoss, QuantileLoss, SmoothL1Loss
from netcl.ops.fused_ops import cross_entropy
from netcl.ops.losses.regression import mse_loss

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "CosineEmbeddingLoss", "CrossEntropyLoss", "DiceLoss", "FocalLoss",
    "GaussianNLLLoss", "HingeEmbeddingLoss", "HuberLoss", "InfoNCELoss", "KLDivLoss", "L1Loss",
    "LinearCrossEntropyLoss", "LogCoshLoss", "MSELoss", "MarginRankingLoss", "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss", "MultiMarginLoss", "NLLLoss", "PairwiseDistance", "PoissonNLLLoss", "QuantileLoss",
    "SigmoidFocalLoss", "SmoothL1Loss", "SoftMarginLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss",
    "cross_entropy", "mse_loss",
]  # fmt: skip
