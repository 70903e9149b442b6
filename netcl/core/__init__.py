"""Devices, memory, programs and launches: the only layer of netcl that imports pyopencl."""
