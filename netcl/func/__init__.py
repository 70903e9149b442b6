"""Functions of functions, as torch.func: derivatives and maps over batches, which compose.

>>> import netcl as nc
>>> nc.func.grad(lambda x: x * x)(nc.tensor(3.0))
tensor(6.)
"""

from netcl.autograd.mapping import vmap
from netcl.func.jacobians import hessian, jacfwd, jacrev
from netcl.func.modules import functional_call, stack_module_state
from netcl.func.transforms import grad, grad_and_value, jvp, value_and_grad, vjp

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "stack_module_state",
    "value_and_grad", "vjp", "vmap",
]  # fmt: skip
