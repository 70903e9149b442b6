"""Small kernels that do not need each other, in one launch.

On the cpu target a kernel is a number of independent work-items, so kernels of one dependency level can share a
launch: each takes a range of the items. A launch costs about as much as 30,000 multiply-adds, so this is done for
small ones only; big ones fill the device by themselves.
"""

from __future__ import annotations

import re

from netcl.codegen.ir import KernelSource, Node

SMALL = 1 << 22  # operations and bytes: beyond this a kernel is launched alone
MAX_ARGUMENTS = 100


def merge_small(sources: list[KernelSource], needs: list[set[int]]) -> tuple[list[KernelSource], list[list[int]]]:
    """Kernels merged by level, and for each launch the kernels that it holds. `needs[n]` are the kernels before n."""
    level: list[int] = []
    for number in range(len(sources)):
        level.append(1 + max((level[other] for other in needs[number]), default=-1))
    at_once, in_place = (_grouped(sources, levels) for levels in (level, _later(sources, needs, level)))
    groups = in_place if len(in_place) <= len(at_once) else at_once
    return [sources[group[0]] if len(group) == 1 else _merge([sources[n] for n in group]) for group in groups], groups


def _later(sources: list[KernelSource], needs: list[set[int]], level: list[int]) -> list[int]:
    """Levels with what may write over an input that its own level reads put a level later: weights are updated in
    their own memory while the layer before them passes its gradient on, not while theirs does."""
    needed = set().union(*needs)
    level = list(level)
    for number in set(range(len(sources))) - needed:
        written = {("buffer", operand) for operand, _ in sources[number].same_element if operand.op == "input"}
        beside = [n for n, other in enumerate(level) if other == level[number] and n != number]
        if level[number] < max(level) and any(written.intersection(sources[n].arguments) for n in beside):
            level[number] += 1
    return level


def _grouped(sources: list[KernelSource], level: list[int]) -> list[list[int]]:
    """The kernels of each launch, in order."""
    groups: list[list[int]] = []
    open_group: dict[int, list[int]] = {}
    for number in sorted(range(len(sources)), key=lambda n: (level[n], n)):
        source = sources[number]
        group = open_group.get(level[number])
        small = source.flops + source.bytes_moved <= SMALL and not source.alone
        if group is not None and small and sum(len(sources[n].arguments) for n in [*group, number]) <= MAX_ARGUMENTS:
            group.append(number)
            continue
        groups.append([number])
        if small:
            open_group[level[number]] = groups[-1]
    return groups


def _merge(sources: list[KernelSource]) -> KernelSource:
    """One kernel that calls each source's body for its share of the work-items. Equal sources (the layers of one size,
    say) are one call with chosen arguments, since every call is compiled anew."""
    alike: dict[tuple[str, tuple[int, ...]], list[KernelSource]] = {}
    for source in sources:
        alike.setdefault((source.source, source.global_size), []).append(source)
    helpers: dict[str, None] = {}
    functions, calls = [], []
    taken = _Parameters()
    first = 0
    for number, members in enumerate(alike.values()):
        preamble, listed, body = _take_apart(members[0])
        helpers.update(dict.fromkeys(_top_level(preamble)))
        body = body.replace("get_group_id(0)", "netcl_group")
        functions.append(f"void part{number}(const int netcl_group, {', '.join(listed)}) {body}")
        size = members[0].global_size[0]
        last = first + size * len(members)
        names = [[taken.name(p, a) for p, a in zip(listed, source.arguments, strict=True)] for source in members]
        given = ", ".join(_chosen(f"(item - {first}) / {size}", of_all) for of_all in zip(*names, strict=True))
        group = f"item - {first}" if len(members) == 1 else f"(item - {first}) % {size}"
        calls.append(f"if (item < {last}) part{number}({group}, {given});")
        first = last
    name = "_and_".join(dict.fromkeys(source.name for source in sources))[:60]
    text = "\n".join([*helpers, *functions])
    text += f"\n__kernel __attribute__((reqd_work_group_size(1, 1, 1)))\nvoid {name}({', '.join(taken.declared)}) {{"
    text += "\n  const int item = get_group_id(0);\n  " + "\n  else ".join(calls) + "\n}\n"
    return KernelSource(
        name, text, (first,), (1,), taken.arguments, sum(s.flops for s in sources),
        sum(s.bytes_moved for s in sources), _same_element(sources),
    )  # fmt: skip


class _Parameters:
    """The parameters of a merged kernel. Numbers that several of its parts take are passed once."""

    def __init__(self) -> None:
        self.declared: list[str] = []
        self.arguments: list[tuple] = []
        self._known: dict[tuple, str] = {}

    def name(self, parameter: str, argument: tuple) -> str:
        """The name under which a part's argument is passed."""
        *kind, own = re.split(r"\b(?=\w+$)", parameter)
        key = (*kind, *argument)
        if argument[0] in ("scalar", "offset", "number") and key in self._known:
            return self._known[key]
        name = self._known[key] = f"{own}_{len(self.declared)}"
        self.declared.append("".join(kind) + name)
        self.arguments.append(argument)
        return name


def _chosen(which: str, names: tuple[str, ...]) -> str:
    """The argument of the member that an item belongs to."""
    if len(set(names)) == 1:
        return names[0]
    tests = "".join(f"{which} == {member} ? {name} : " for member, name in enumerate(names[:-1]))
    return f"{tests}{names[-1]}"


def _same_element(sources: list[KernelSource]) -> set[tuple[Node, Node]]:
    """The results that may still overwrite an operand: those whose operand no other kernel of the launch reads."""
    return {
        (operand, result)
        for number, source in enumerate(sources)
        for operand, result in source.same_element
        if not any(("buffer", operand) in other.arguments for n, other in enumerate(sources) if n != number)
    }


def _take_apart(source: KernelSource) -> tuple[str, list[str], str]:
    """What comes before the kernel, its parameters, and its body with the braces."""
    preamble, kernel = re.split(r"^__kernel\b", source.source, maxsplit=1, flags=re.MULTILINE)
    listed, body = kernel.split(f"void {source.name}(", 1)[1].split(") {", 1)
    return preamble, listed.split(", "), "{" + body


def _top_level(preamble: str) -> list[str]:
    """A preamble's functions, declarations and preprocessor lines, each whole, so that equal ones are written once."""
    pieces: list[str] = []
    lines: list[str] = []
    depth = 0
    for line in preamble.splitlines():
        if not lines and not line.strip():
            continue
        lines.append(line)
        directive = lines[0].lstrip().startswith("#")
        if line.lstrip().startswith("#"):
            depth += line.lstrip().startswith("#if") - line.lstrip().startswith("#endif")
        else:
            depth += line.count("{") - line.count("}")
        if depth == 0 and not line.endswith("\\") and (directive or line.rstrip().endswith(("}", ";"))):
            pieces.append("\n".join(lines))
            lines = []
    return [*pieces, "\n".join(lines)] if lines else pieces
