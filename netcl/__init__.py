"""netcl: deep learning on any OpenCL device, in PyTorch's words.

>>> import netcl as nc
>>> x = nc.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from math import e, inf, nan, pi

from netcl import autograd, jit, linalg, profiler, random
from netcl.autograd.autocast import (
    autocast, clear_autocast_cache, get_autocast_dtype, is_autocast_cache_enabled, is_autocast_enabled,
    set_autocast_cache_enabled, set_autocast_dtype, set_autocast_enabled,
)  # fmt: skip
from netcl.autograd.mapping import vmap
from netcl.autograd.modes import inference_mode, is_inference_mode_enabled, set_grad_enabled
from netcl.autograd.tape import Tape, enable_grad, is_grad_enabled, no_grad
from netcl.core import absent as _absent
from netcl.core.device import (
    Device, current_device, default_device, device, devices, get_default_device, set_default_device,
)  # fmt: skip
from netcl.core.dtypes import DType, bfloat16, float16, float32, float64, int8, int16, int32, int64, uint8
from netcl.core.dtypes import bool_ as bool
from netcl.core.errors import OutOfMemoryError
from netcl.graph.picture import draw
from netcl.graph.budget import get_memory_budget, set_memory_budget
from netcl.graph.value import eager
from netcl.jit import JitWarning, compile, jit_compile
from netcl.ops import methods as _methods
from netcl.ops import return_types
from netcl.ops.activations import *
from netcl.ops.bits import *
from netcl.ops.comparison import *
from netcl.ops.conversion import *
from netcl.ops.counting import *
from netcl.ops.custom import register_primitive, unregister_primitive
from netcl.ops.creation import *
from netcl.ops.differences import *
from netcl.ops.distances import *
from netcl.ops.distinct import *
from netcl.ops.division import *
from netcl.ops.einsum import *
from netcl.ops.elementwise import *
from netcl.ops.extrema import *
from netcl.ops.factorizations import *
from netcl.ops.formats import *
from netcl.ops.gathering import *
from netcl.ops.indexing import *
from netcl.ops.interchange import *
from netcl.ops.joining import *
from netcl.ops.layouts import *
from netcl.ops.linalg import *
from netcl.ops.masks import *
from netcl.ops.matrix_functions import *
from netcl.ops.norms import *
from netcl.ops.patches import *
from netcl.ops.products import *
from netcl.ops.public import publish as _publish
from netcl.ops.queries import *
from netcl.ops.ranges import *
from netcl.ops.ranks import *
from netcl.ops.rearrange import *
from netcl.ops.reduction import *
from netcl.ops.repeats import *
from netcl.ops.sampling import *
from netcl.ops.scans import *
from netcl.ops.scattering import *
from netcl.ops.searching import *
from netcl.ops.shape import *
from netcl.ops.signal_windows import *
from netcl.ops.sorting import *
from netcl.ops.special import *
from netcl.ops.spectra import *
from netcl.ops.splitting import *
from netcl.ops.statistics import *
from netcl.ops.triangles import *
from netcl.ops.truth import *
from netcl.ops.types import *
from netcl.ops.view_scatter import *
from netcl.ops.sync import synchronize
from netcl.printing import get_printoptions, printoptions, set_printoptions
from netcl.random import (
    Generator, default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state,
)  # fmt: skip
from netcl.tensor import Size, Tensor
from netcl.version import __version__

float = float32
double = float64
half = float16
int = int32
long = int64
short = int16
dtype = DType
newaxis = None

from netcl import amp, data, distributions, func, metrics, nn, optim, special, testing, utils  # noqa: E402
from netcl import places as _places  # noqa: E402
from netcl.amp import GradScaler  # noqa: E402
from netcl.io import load, save  # noqa: E402
from netcl.utils import accelerator, backends, cuda  # noqa: E402
from netcl import trainer  # noqa: E402
from netcl.trainer import History, Trainer  # noqa: E402
from netcl.nn.functional import log_softmax, softmax  # noqa: E402

__all__ = [name for name in dir() if not name.startswith("_")]
_publish(globals(), __all__)
_absent.attach({
    "torch": globals(), "torch.nn.functional": vars(nn.functional), "torch.nn": vars(nn),
    "torch.nn.init": vars(nn.init), "torch.optim": vars(optim),
    "torch.optim.lr_scheduler": vars(optim.lr_scheduler), "torch.autograd": vars(autograd),
    "torch.utils.data": vars(data), "torch.linalg": vars(linalg),
    "torch.special": vars(special), "torch.amp": vars(amp), "torch.func": vars(func),
    "torch.utils": vars(utils), "torch.distributions": vars(distributions), "torch.nn.utils": vars(nn.utils),
    "torch.nn.utils.parametrizations": vars(nn.utils.parametrizations), "torch.nn.utils.rnn": vars(nn.utils.rnn),
    "torch.optim.swa_utils": vars(optim.swa_utils), "torch.autograd.functional": vars(autograd.functional),
})  # fmt: skip
_places.register()
