"""Diamonds: the price of 53,940 diamonds from their size, cut, colour and clarity. Run it by `netcl train diamonds`."""

import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.data import DataLoader, TensorDataset, random_split

NUMBERS, GRADES = ("carat", "depth", "table", "x", "y", "z"), ("cut", "color", "clarity")


def load_diamonds():
    """Features (53940, 26), standardised numbers and one-hot grades, and the logarithm of the price (53940, 1)."""
    package = find_spec("plotnine")  # the table comes with plotnine; finding it imports nothing
    if package is None:
        raise ModuleNotFoundError("the diamonds come with the package plotnine")
    with open(Path(package.origin).parent / "data" / "diamonds.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = np.array([[float(row[name]) for name in NUMBERS] for row in rows])
    columns = [(numbers - numbers.mean(0)) / numbers.std(0)]
    for name in GRADES:
        levels = sorted({row[name] for row in rows})
        columns.append(np.array([[row[name] == level for level in levels] for row in rows]))
    price = np.array([[float(row["price"])] for row in rows])
    return np.hstack(columns).astype(np.float32), np.log(price).astype(np.float32)


def make_model(features):
    hidden = nn.Sequential(nn.Linear(features, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU())
    return nn.Sequential(hidden, nn.Linear(64, 1))


def evaluate(model, loader):
    """Mean squared error and R2 over a loader."""
    with nc.no_grad():
        pairs = [(model(x).numpy(), y.numpy()) for x, y in loader]
    predicted, true = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    mse = float(np.mean((predicted - true) ** 2))
    return mse, 1 - mse / float(np.var(true))


def plot(history, path):
    """Learning curves: history has rows of training mse, held-out mse, R2."""
    axis = Figure(layout="constrained").subplots()
    axis.semilogy(range(1, len(history) + 1), [row[:2] for row in history], label=["training", "held out"])
    axis.set(xlabel="epoch", ylabel="mse of log(price)")
    axis.legend()
    axis.figure.savefig(path, dpi=120)


def train_epoch(model, loader, optimizer, bar):
    """One pass over the training set; mean squared error."""
    total = count = 0
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
        count += len(y)
        bar.set_postfix(mse=f"{total / count:.4f}", refresh=False)
        bar.update(len(y))
    return total / count


def main(epochs=10, batch_size=256, lr=3e-3, seed=0, device=None, out="runs/diamonds"):
    with nc.device(device) as chosen:
        nc.manual_seed(seed)
        data = TensorDataset(*map(nc.tensor, load_diamonds()))
        training, held_out = random_split(data, [0.9, 0.1])
        train_loader, test_loader = DataLoader(training, batch_size, shuffle=True), DataLoader(held_out, 1024)
        model = make_model(data.tensors[0].shape[1])
        optimizer = nc.optim.AdamW(model.parameters(), lr=lr)
        print(f"diamonds: {len(training)} for training, {len(held_out)} held out, on {chosen.name}")
        history = []
        with tqdm(total=epochs * len(training), unit=" samples", unit_scale=True, mininterval=0.5) as bar:
            for epoch in range(epochs):
                bar.set_description(f"epoch {epoch + 1}/{epochs}", refresh=False)
                optimizer.param_groups[0]["lr"] = lr * (1 - epoch / epochs)
                history.append((train_epoch(model, train_loader, optimizer, bar), *evaluate(model, test_loader)))
        mse, r2 = history[-1][1:]
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint, picture = folder / "diamonds.safetensors", folder / "diamonds.png"
        nc.save(model.state_dict(), checkpoint)
        plot(history, picture)
        print(f"held out: mse {mse:.4f}, R2 {r2:.4f}\ncheckpoint: {checkpoint}\nlearning curves: {picture}")
        return {"mse": mse, "r2": r2, "checkpoint": str(checkpoint), "curves": str(picture)}


if __name__ == "__main__":
    main()
