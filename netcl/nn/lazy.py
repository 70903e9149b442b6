"""Modules whose sizes are found from their first input: LazyLinear."""

from __future__ import annotations

from typing import Any

from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.graph.value import Value
from netcl.nn.linear import Linear
from netcl.nn.module import Module
from netcl.nn.parameter import Parameter, unset
from netcl.tensor import Size, Tensor


class UninitializedParameter(Parameter):
    """A parameter that has no shape yet: materialize(shape) makes it an ordinary one. It can be moved before that."""

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: DType | None = None) -> None:
        target = find_device(device)
        self._value = Value.realised(target.pool.allocate(0), (0,), dtype or dtypes.default_float, target)
        self._tracked = requires_grad

    @property
    def shape(self) -> Size:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call `forward` "
            "to initialize the parameters before accessing their attributes."
        )

    def materialize(self, shape: Any, device: Any = None, dtype: DType | None = None) -> None:
        """Take a shape; the elements are arbitrary until they are drawn."""
        made = unset(*shape, device=device or self.device, dtype=dtype or self.dtype)
        self.__class__ = Parameter  # type: ignore[assignment]
        self._value = made._value

    def __repr__(self) -> str:
        return "<UninitializedParameter>"

    def __deepcopy__(self, memo: dict) -> UninitializedParameter:
        copied = UninitializedParameter(self._tracked, self._value.device, self._value.dtype)
        memo[id(self)] = copied
        return copied


class LazyModuleMixin:
    """For modules that write initialize_parameters(*args): called with the first input, before forward."""

    cls_to_become: type[Module] | None = None

    def _wait(self: Any) -> None:
        """Be initialised by the first call, or by loading a state_dict with shapes."""
        self._hooks_of_laziness = (
            self.register_forward_pre_hook(_initialise, with_kwargs=True),
            self.register_load_state_dict_pre_hook(_shaped_by_state),
        )

    def has_uninitialized_params(self: Any) -> bool:
        """Whether the first input is still waited for."""
        return any(isinstance(p, UninitializedParameter) for p in self._parameters.values())

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Find the sizes from an input, and draw the parameters."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")


def _initialise(module: Any, args: tuple, kwargs: dict) -> None:
    module.initialize_parameters(*args, **kwargs)
    if module.has_uninitialized_params():
        raise RuntimeError(f"module {module._get_name()} has not been fully initialized")
    _become(module)


def _become(module: Any) -> None:
    for handle in module._hooks_of_laziness:
        handle.remove()
    del module._hooks_of_laziness
    if module.cls_to_become is not None:
        module.__class__ = module.cls_to_become


def _shaped_by_state(module: Any, state: dict, prefix: str, *rest: Any) -> None:
    for name, parameter in module._parameters.items():
        given = state.get(prefix + name)
        if isinstance(parameter, UninitializedParameter) and given is not None:
            parameter.materialize(tuple(given.shape))
    if not module.has_uninitialized_params():
        module.sizes_from_parameters(state, prefix)
        _become(module)


class LazyLinear(LazyModuleMixin, Linear):
    """A Linear that takes in_features from its first input, and is a Linear from then on.

    >>> import netcl as nc
    >>> layer = nc.nn.LazyLinear(2)
    >>> layer(nc.ones(4, 3)).shape, layer.weight.shape
    (netcl.Size([4, 2]), netcl.Size([2, 3]))
    """

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: DType | None = None) -> None:
        Module.__init__(self)
        self.in_features = 0
        self.out_features = out_features
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self._wait()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew; nothing while the first input is waited for."""
        if not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Find in_features from an input, and draw the parameters."""
        if self.has_uninitialized_params():
            self.in_features = input.shape[-1]
            self.weight.materialize((self.out_features, self.in_features))
            if self.bias is not None:
                self.bias.materialize((self.out_features,))
            self.reset_parameters()

    def sizes_from_parameters(self, state: dict, prefix: str) -> None:
        """in_features, once the weight has been loaded."""
        self.in_features = self.weight.shape[-1]
