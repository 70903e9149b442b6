"""The version of netcl, in the one place where it is kept."""

__version__ = "0.1.0"
cuda = hip = None  # what PyTorch's version module says without them
