"""The budget for the memory of plans, which `graph.frugal` keeps to."""

from __future__ import annotations

from netcl.graph.value import flush_thread


class _Budget:
    """The bytes that a plan may take, and whether it has been told that one takes more."""

    limit: int | None = None
    warned = False


state = _Budget()


class set_memory_budget:
    """From now on, or in a with block, plans that need more than so many bytes compute cheap things again.

    Counted is what a plan allocates: its results and what it keeps in between, as the pool rounds it; not what is
    there before it. Elementwise work, casts, broadcasts and views are done again; products, reductions and sorts are
    not. It is no hard limit: a plan that can't be made to fit runs all the same, and the first one gives a warning that
    says how much it needs. None lifts the budget. What is pending runs first.

    >>> import netcl as nc
    >>> with nc.set_memory_budget(64 << 20):
    ...     total = nc.ones(1000).exp().sum().item()
    """

    def __init__(self, bytes: int | None) -> None:
        if bytes is not None and (isinstance(bytes, bool) or not isinstance(bytes, int)):
            raise TypeError(f"set_memory_budget: expected a number of bytes or None, got {type(bytes).__name__}")
        if bytes is not None and bytes <= 0:
            raise ValueError(f"set_memory_budget: expected more than 0 bytes, got {bytes}; None lifts the budget")
        flush_thread()
        self.before = state.limit
        state.limit, state.warned = bytes, False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        flush_thread()
        state.limit = self.before


def get_memory_budget() -> int | None:
    """The bytes of set_memory_budget, or None."""
    return state.limit
