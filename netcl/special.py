"""Special functions under the names of torch.special."""

from netcl.nn.functional import log_softmax, softmax
from netcl.ops.division import round
from netcl.ops.elementwise import erf, erfc, exp2, expm1, log1p
from netcl.ops.reduction import logsumexp
from netcl.ops.special import (
    digamma,
    entr,
    erfinv,
    expit,
    gammaln,
    logit,
    multigammaln,
    ndtr,
    ndtri,
    polygamma,
    psi,
    sinc,
    xlog1py,
    xlogy,
    zeta,
)  # fmt: skip

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammaln", "log1p", "log_softmax", "logit",
    "logsumexp", "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "sinc", "softmax", "xlog1py", "xlogy",
    "zeta",
]  # fmt: skip
