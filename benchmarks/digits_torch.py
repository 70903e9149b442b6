"""The models of examples/digits.py and examples/diamonds.py in PyTorch, on the same data, split and batches.

    python benchmarks/digits_torch.py [digits|diamonds] [--epochs N] [--seed N]

Initial weights, split and shuffling are drawn from the same generator with the same seed, so the numbers agree with
netcl's to rounding: each line of training below stands in the example with `netcl` in the place of `torch`.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def example(name: str) -> Any:
    """The netcl example, for the functions that load its data."""
    path = Path(__file__).resolve().parents[1] / "examples" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def digits(epochs: int = 20, batch_size: int = 32, lr: float = 4e-3, seed: int = 0) -> dict[str, float]:
    """Loss and accuracy on the held-out digits."""
    torch.manual_seed(seed)
    images, labels = example("digits").load_images()
    data = TensorDataset(torch.tensor(images), torch.tensor(labels))
    training, held_out = random_split(data, [0.8, 0.2])
    train_loader = DataLoader(training, batch_size, shuffle=True)
    hidden = nn.Sequential(nn.Linear(64, 128), nn.LayerNorm(128), nn.GELU(), nn.Linear(128, 128), nn.GELU())
    model = nn.Sequential(hidden, nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
    loss = correct = 0.0
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = lr * (1 - epoch / epochs)
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        loss = correct = 0.0
        with torch.no_grad():
            for x, y in DataLoader(held_out, 256):
                logits = model(x)
                loss += F.cross_entropy(logits, y, reduction="sum").item()
                correct += (logits.argmax(1) == y).sum().item()
    return {"loss": loss / len(held_out), "accuracy": correct / len(held_out)}


def diamonds(epochs: int = 10, batch_size: int = 256, lr: float = 3e-3, seed: int = 0) -> dict[str, float]:
    """Mean squared error and R2 on the held-out diamonds."""
    torch.manual_seed(seed)
    features, price = example("diamonds").load_diamonds()
    data = TensorDataset(torch.tensor(features), torch.tensor(price))
    training, held_out = random_split(data, [0.9, 0.1])
    train_loader = DataLoader(training, batch_size, shuffle=True)
    hidden = nn.Sequential(
        nn.Linear(features.shape[1], 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU()
    )  # fmt: skip
    model = nn.Sequential(hidden, nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    mse = r2 = 0.0
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = lr * (1 - epoch / epochs)
        for x, y in train_loader:
            optimizer.zero_grad()
            F.mse_loss(model(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            pairs = [(model(x).numpy(), y.numpy()) for x, y in DataLoader(held_out, 1024)]
        predicted, true = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
        mse = float(np.mean((predicted - true) ** 2))
        r2 = 1 - mse / float(np.var(true))
    return {"mse": mse, "r2": r2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="?", choices=("digits", "diamonds"), default="digits")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    options = {"seed": arguments.seed} | ({"epochs": arguments.epochs} if arguments.epochs else {})
    start = time.perf_counter()
    result = (digits if arguments.which == "digits" else diamonds)(**options)
    seconds = time.perf_counter() - start
    print(f"PyTorch {torch.__version__}, {arguments.which}: {result}, {seconds:.1f} s")


if __name__ == "__main__":
    main()
