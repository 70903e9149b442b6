"""Totals over all work-groups in one launch.

Each group leaves its partial in scratch memory; the last one to arrive reads them all, in order, so that the sum has
the same bits every time, and sets the arrival counter back to 0 for the next launch. No group waits for another.
Partials travel as 32-bit atomics, which are coherent between groups on every OpenCL 1.2 device.
"""

from __future__ import annotations

from dataclasses import dataclass

from netcl.codegen.reductions import combine, identity
from netcl.core.dtypes import DType

BLOCK = 16  # partials after which their sum is put aside: a GPU has thousands of groups


@dataclass
class Partial:
    """A group's share of a total: the reduction, the accumulator's dtype, the variable that holds it."""

    op: str
    dtype: DType
    name: str

    @property
    def words(self) -> int:
        return 2 if self.dtype.compute in ("double", "long") else 1

    @property
    def carrier(self) -> str:
        """The type whose bits travel."""
        return self.dtype.compute if self.dtype.compute in ("float", "double", "long") else "int"


def scratch_words(partials: list[Partial], groups: int) -> int:
    """32-bit words: the counter, then the partials of each total."""
    return 1 + sum(groups * partial.words for partial in partials)


def partials_out(partials: list[Partial], groups: int) -> list[str]:
    """Statements that leave this group's partials in scratch."""
    lines, word = [], 1
    for partial in partials:
        if partial.words == 2:
            at = f"scratch + {word} + group * 2"
            lines.append(
                f"{{ const uint2 w = as_uint2({partial.name}); atomic_xchg({at}, w.x); atomic_xchg({at} + 1, w.y); }}"
            )
        else:
            lines.append(f"atomic_xchg(scratch + {word} + group, as_uint(({partial.carrier}){partial.name}));")
        word += groups * partial.words
    return [*lines, "mem_fence(CLK_GLOBAL_MEM_FENCE);"]


def partials_in(partials: list[Partial], groups: int) -> list[str]:
    """Statements that join all groups' partials, in order."""
    lines, word = [], 1
    for partial in partials:
        name, compute = partial.name, partial.dtype.compute
        if partial.words == 2:
            at = f"scratch + {word} + k * 2"
            read = f"as_{partial.carrier}((uint2)(atomic_or({at}, 0), atomic_or({at} + 1, 0)))"
        else:
            read = f"({compute})as_{partial.carrier}(atomic_or(scratch + {word} + k, 0))"
        joined = combine(partial.op, name, "part", partial.dtype, 1)
        lines.append(f"{name} = {identity(partial.op, partial.dtype)};")
        turn = f"const {compute} part = {read}; {name} = {joined};"
        if partial.op == "sum" and partial.carrier in ("float", "double") and groups > 2 * BLOCK:
            kept = f"kept_{name}"
            lines.append(f"{compute} {kept} = 0;")
            turn += f" if ((k & {BLOCK - 1}) == {BLOCK - 1}) {{ {kept} += {name}; {name} = 0; }}"
            lines += [f"for (int k = 0; k < {groups}; ++k) {{ {turn} }}", f"{name} += {kept};"]
        else:
            lines.append(f"for (int k = 0; k < {groups}; ++k) {{ {turn} }}")
        word += groups * partial.words
    return lines
