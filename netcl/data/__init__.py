"""Datasets and loaders, under PyTorch's names (`netcl.utils.data` is the same)."""

from netcl.data.collate import default_collate, default_convert
from netcl.data.dataloader import DataLoader
from netcl.data.dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from netcl.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler

__all__ = [
    "BatchSampler", "ConcatDataset", "DataLoader", "Dataset", "RandomSampler", "Sampler", "SequentialSampler", "Subset",
    "SubsetRandomSampler", "TensorDataset", "default_collate", "default_convert", "random_split",
]  # fmt: skip
