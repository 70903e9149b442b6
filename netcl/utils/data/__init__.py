"""The same as `netcl.data`, where PyTorch has it."""

from netcl.data import *  # noqa: F403
from netcl.data import __all__ as __all__
