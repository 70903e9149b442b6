"""Datasets and loaders, under PyTorch's names (`netcl.utils.data` is the same); files and real sets beside them."""

from netcl.data import sets
from netcl.data.collate import default_collate, default_convert
from netcl.data.csv_files import CsvFolder, read_csv
from netcl.data.dataloader import DataLoader
from netcl.data.dataset import ConcatDataset, Dataset, StackDataset, Subset, TensorDataset, random_split
from netcl.data.distributed import DistributedSampler
from netcl.data.idx import IdxDataset, read_idx
from netcl.data.info import WorkerInfo, get_worker_info
from netcl.data.iterable import ChainDataset, IterableDataset
from netcl.data.prefetch import prefetch
from netcl.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__all__ = [
    "BatchSampler", "ChainDataset", "ConcatDataset", "CsvFolder", "DataLoader", "Dataset", "DistributedSampler",
    "IdxDataset",
    "IterableDataset", "RandomSampler", "Sampler", "SequentialSampler", "StackDataset", "Subset", "SubsetRandomSampler",
    "TensorDataset", "WeightedRandomSampler", "WorkerInfo", "default_collate", "default_convert", "get_worker_info",
    "prefetch", "random_split", "read_csv", "read_idx", "sets",
]  # fmt: skip
