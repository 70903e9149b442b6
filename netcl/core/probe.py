"""What a device can do, found by compiling and running small kernels: a claim in a string proves nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from netcl.core import cache, debug, pocl, program, runtime

if TYPE_CHECKING:
    from netcl.core.device import Device

_FORMAT = 4  # change it when a probe changes, so that stored answers are asked for anew


@dataclasses.dataclass(frozen=True)
class Capabilities:
    """What a device can do. Sizes in bytes; subgroup_size and vector width in elements."""

    fp16: bool
    fp64: bool
    subgroups: bool
    subgroup_size: int
    float_vector_width: int
    compute_units: int
    max_work_group_size: int
    global_memory: int
    max_allocation: int
    bf16_dot: bool


_BASE = """
kernel void probe(global float *x, global int *info) {
    int i = get_global_id(0);
    x[i] = x[i] * 2.0f + 1.0f;
}
"""
_FP64 = """
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
kernel void probe(global float *x, global int *info) {
    int i = get_global_id(0);
    double y = (double)x[i] + 1e-12;
    x[i] = (y - (double)x[i] > 5e-13) ? x[i] * 2.0f + 1.0f : -1.0f;
}
"""
_FP16 = """
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
kernel void probe(global float *x, global int *info) {
    int i = get_global_id(0);
    half y = (half)x[i];
    x[i] = (float)(y * (half)2.0f + (half)1.0f);
}
"""
# Products of pairs of bfloat16 by the CPU's instruction, as codegen/contraction_bf16 has it: 1.0 * 2.0 + 1.0 * 1.0.
_BF16_DOT = """
__attribute__((noinline)) void dot(const uint *a, const uint *b, float *sums) {
    __asm__ volatile(
        "vpxord %%zmm0, %%zmm0, %%zmm0\\n"
        "vpbroadcastd (%0), %%zmm1\\n"
        "vmovups (%1), %%zmm2\\n"
        "vdpbf16ps %%zmm2, %%zmm1, %%zmm0\\n"
        "vmovups %%zmm0, (%2)\\n"
        : : "r"(a), "r"(b), "r"(sums) : "memory"
#ifdef __x86_64__
        , "xmm0", "xmm1", "xmm2"
#endif
    );
}
__attribute__((reqd_work_group_size(1, 1, 1)))
kernel void probe(global float *x, global int *info) {
    int i = get_global_id(0);
    uint a[1], b[16];
    float sums[16];
    a[0] = 0x3F803F80;
    for (int j = 0; j < 16; ++j) b[j] = 0x3F804000;
    dot(a, b, sums);
    float three = sums[i % 16];
    x[i] = three == 3.0f ? x[i] * 2.0f + 1.0f : -1.0f;
}
"""
_SUBGROUPS = """
#ifdef cl_khr_subgroups
#pragma OPENCL EXTENSION cl_khr_subgroups : enable
#endif
#ifdef cl_intel_subgroups
#pragma OPENCL EXTENSION cl_intel_subgroups : enable
#endif
kernel void probe(global float *x, global int *info) {
    int i = get_global_id(0);
    int count = sub_group_reduce_add(1);
    x[i] = count == (int)get_sub_group_size() ? x[i] * 2.0f + 1.0f : -1.0f;
    if (i == 0) info[0] = get_max_sub_group_size();
}
"""
_ITEMS = 64


def _run(device: Device, source: str, group: int = _ITEMS) -> np.ndarray[Any, Any]:
    """Run a probe over 64 items; its int32 info word. RuntimeError if it fails or computes a wrong result."""
    cl = runtime.cl()
    kernel = cl.Kernel(program.build(device, source), "probe")
    x = np.arange(_ITEMS, dtype=np.float32)
    info = np.zeros(1, np.int32)
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    try:
        x_mem = cl.Buffer(device.context, flags, hostbuf=x)
        info_mem = cl.Buffer(device.context, flags, hostbuf=info)
        kernel.set_arg(0, x_mem)
        kernel.set_arg(1, info_mem)
        cl.enqueue_nd_range_kernel(device.queue, kernel, (_ITEMS,), (group,))
        got = np.empty_like(x)
        cl._cl._enqueue_read_buffer(device.queue, x_mem, got)
        cl._cl._enqueue_read_buffer(device.queue, info_mem, info)
    except cl.Error as error:
        raise RuntimeError(f"{device} ({device.name}, {device.platform_name}) cannot run a kernel: {error}") from error
    if not np.array_equal(got, x * 2 + 1):
        raise RuntimeError(f"{device} ({device.name}, {device.platform_name}) computes wrong results")
    return info


def _proven(
    device: Device, what: str, claimed: bool, source: str, group: int = _ITEMS
) -> np.ndarray[Any, Any] | None:
    """The probe's info word if the device claims the ability and shows it, else None."""
    # A compiler may abort the whole process on what it never claimed to know; so only claims are put to the test.
    if not claimed:
        return None
    try:
        return _run(device, source, group)
    except RuntimeError as error:
        debug.log(1, f"netcl: {device} claims {what} but fails at it: {error}")
        return None


def measure(device: Device) -> Capabilities:
    """Probe `device` by running kernels on it; RuntimeError if not even plain float32 works."""
    _run(device, _BASE)
    found = device.cl_device
    extensions = set(found.extensions.split())
    subgroups = _proven(device, "sub-groups", bool(extensions & {"cl_khr_subgroups", "cl_intel_subgroups"}), _SUBGROUPS)
    return Capabilities(
        fp16=_proven(device, "fp16", "cl_khr_fp16" in extensions, _FP16) is not None,
        fp64=_proven(device, "fp64", "cl_khr_fp64" in extensions, _FP64) is not None,
        subgroups=subgroups is not None,
        subgroup_size=int(subgroups[0]) if subgroups is not None else 0,
        float_vector_width=int(found.native_vector_width_float or 1),
        compute_units=int(found.max_compute_units),
        max_work_group_size=int(found.max_work_group_size),
        global_memory=int(found.global_mem_size),
        max_allocation=int(found.max_mem_alloc_size),
        bf16_dot=_proven(device, "bf16 dot", _claims_bf16_dot(device), _BF16_DOT, 1) is not None,
    )


def _claims_bf16_dot(device: Device) -> bool:
    """Whether the CPU has the instruction, and the device is a runtime on it that takes assembly."""
    known = device.platform_name.startswith(("Intel", "Portable"))
    return device.kind == "cpu" and known and "avx512_bf16" in pocl.cpu_flags()


def capabilities(device: Device) -> Capabilities:
    """What `device` can do, from disk if this driver was probed before; RuntimeError if the device is broken."""
    if not cache.enabled():
        return measure(device)
    key = hashlib.sha256(f"{_FORMAT}\0{device.fingerprint}\0{_sizes(device)}".encode()).hexdigest()[:32]
    path = cache.cache_dir() / "probes" / f"{key}.json"
    try:
        return Capabilities(**json.loads(path.read_text()))
    except FileNotFoundError:
        debug.log(2, f"netcl: probing {device} ({device.name})")
    except (OSError, ValueError, TypeError) as error:  # damaged, or of another version: measured anew
        debug.log(1, f"netcl: cannot use {path}: {error}")
    result = measure(device)
    try:
        cache.write_atomically(path, json.dumps(dataclasses.asdict(result), indent=1).encode())
    except OSError as error:
        debug.log(1, f"netcl: cannot keep the probe's result in {path}: {error}")
    return result


def _sizes(device: Device) -> str:
    """What may differ between two runs with one driver: a container's cores and memory."""
    found = device.cl_device
    return f"{found.max_compute_units} {found.global_mem_size} {found.max_mem_alloc_size}"
