"""A recording's plan for operands that lie in memory: whose memory its results take, and what they become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netcl.graph.live import Live, evaluator, peek
from netcl.graph.plan import Plan, pack_offset
from netcl.graph.value import Value
from netcl.jit.recorded import Recorded


class Direct:
    """A plan for operands that lie in memory as they did, and what to do with its numbers and results."""

    def __init__(
        self, plan: Plan, operands: int, first_item: int, recorded: Recorded, heirs: Sequence[tuple[int, int]]
    ):
        self.plan = plan
        taken = [slot for slot, _, _ in plan.memory.taken]
        results: list[tuple] = [(position - first_item, *rest) for position, *rest in plan.results]
        lies_in = {k: slot for k, slot, strides, offset, _ in results if slot in taken and _whole(strides, offset)}
        # results that take the memory of the very tensor that they are written to: its value goes on, and that of any
        # other tensor that they are written to becomes the same
        written = [(n, w[1], recorded.operand_of(n)) for n, w in recorded.writes if w[0] == "result"]
        written = [item for item in written if lies_in.get(item[1], -1) == item[2]]
        self.in_place: list[tuple[int, Any]] = list({k: operand for _, k, operand in written}.items())
        # new gradients in the memory of the old ones, whose values go on; another result that fits there is a new value
        self.gradients = [(k, slot) for k, slot in lies_in.items() if (slot, first_item + k) in heirs]
        stays, kept = {n for n, _, _ in written}, {k for _, k, _ in written}.union(dict(self.gradients))
        self.writes = [w for w in recorded.writes if w[0] not in stays]
        self.passed_on = any(w[1][0] == "result" and w[1][1] in dict(self.in_place) for w in self.writes)
        own = set(range(operands, operands + plan.memory.slots)).union(taken)

        def by_itself(result: Sequence[Any]) -> bool:
            return result[0] in own and _whole(*result[1:3])

        new = [(k, *recorded.work.metas[k], result) for k, *result in results if k not in kept]
        self.new = [item for item in new if not by_itself(item[3])]
        self.whole = [(k, shape, kind, r[0], r[3]) for k, shape, kind, r in new if by_itself(r)]
        packers = plan.scalar_packers
        self.packed = [pack(peek(n)) for pack, n in zip(packers, recorded.work.numbers, strict=True)]
        self.moving = [(k, packers[k], evaluator(n)) for k, n in enumerate(recorded.work.numbers) if type(n) is Live]
        self.layouts: list[tuple] = []
        self.free: list[int] = []
        self.settings: tuple = ()

    def numbers(self, sources: list[Any], operands: list[Value]) -> list[bytes]:
        """Kernel arguments: the numbers of this call, and offsets of operands."""
        packed = self.packed.copy()
        for place, pack, evaluate in self.moving:
            packed[place] = pack(evaluate(sources))
        if self.plan.moved:
            packed += [pack_offset(operands[number].offset) for number in self.plan.moved]
        return packed


def _whole(strides: Any, offset: int) -> bool:
    """Whether a result is all of the memory that it lies in, in order."""
    return strides is None and not offset
