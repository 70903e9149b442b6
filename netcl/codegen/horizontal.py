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
    return [sources[group[0]] if len(group) == 1 else _merge([sources[n] for n in group]) for group in groups], groups


def _merge(sources: list[KernelSource]) -> KernelSource:
    """One kernel that calls each source's body for its share of the work-items. Equal sources (the layers of one size,
    say) are one call with chosen arguments, since every call is compiled anew."""
    alike: dict[tuple[str, tuple[int, ...]], list[KernelSource]] = {}
    for source in sources:
        alike.setdefault((source.source, source.global_size), []).append(source)
    helpers: dict[str, None] = {}
    functions, parameters, calls, arguments = [], [], [], []
    first = 0
    for number, members in enumerate(alike.values()):
        preamble, listed, body = _take_apart(members[0])
        helpers.update(dict.fromkeys(_top_level(preamble)))
        names = [re.split(r"[ *]+", parameter)[-1] for parameter in listed]
        body = body.replace("get_group_id(0)", "netcl_group")
        functions.append(f"void part{number}(const int netcl_group, {', '.join(listed)}) {body}")
        for member, source in enumerate(members):
            suffix = f"_{number}_{member}"
            parameters += [re.sub(rf"\b{name}$", name + suffix, p) for name, p in zip(names, listed, strict=True)]
            arguments += source.arguments
        size = members[0].global_size[0]
        last = first + size * len(members)
        given = ", ".join(_chosen(f"(item - {first}) / {size}", f"{name}_{number}", len(members)) for name in names)
        group = f"item - {first}" if len(members) == 1 else f"(item - {first}) % {size}"
        calls.append(f"if (item < {last}) part{number}({group}, {given});")
        first = last
    name = "_and_".join(dict.fromkeys(source.name for source in sources))[:60]
    text = "\n".join([*helpers, *functions])
    text += f"\n__kernel __attribute__((reqd_work_group_size(1, 1, 1)))\nvoid {name}({', '.join(parameters)}) {{"
    text += "\n  const int item = get_group_id(0);\n  " + "\n  else ".join(calls) + "\n}\n"
    return KernelSource(
        name, text, (first,), (1,), arguments, sum(s.flops for s in sources), sum(s.bytes_moved for s in sources),
        _same_element(sources),
    )  # fmt: skip


def _chosen(which: str, name: str, count: int) -> str:
    """The argument of the member that an item belongs to."""
    tests = "".join(f"{which} == {member} ? {name}_{member} : " for member in range(count - 1))
    return f"{tests}{name}_{count - 1}"


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
