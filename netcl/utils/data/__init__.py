"""The same as `netcl.data`, where PyTorch has it."""

from netcl.data import *  # noqa: F403
from netcl.data import __all__ as __all__
from netcl.utils.data import dataloader as dataloader
from netcl.utils.data import dataset as dataset
from netcl.utils.data import distributed as distributed
from netcl.utils.data import sampler as sampler
