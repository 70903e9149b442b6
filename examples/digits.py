"""Handwritten digits: a classifier for scikit-learn's 1,797 images of 8 x 8 pixels. Run it by `netcl train digits`."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from tqdm import tqdm

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.data import DataLoader, TensorDataset, random_split


def load_images():
    """Images (1797, 64) with pixels from 0 to 1, and labels (1797,)."""
    digits = load_digits()
    return (digits.data / 16).astype(np.float32), digits.target


def make_model():
    hidden = nn.Sequential(nn.Linear(64, 128), nn.LayerNorm(128), nn.GELU(), nn.Linear(128, 128), nn.GELU())
    return nn.Sequential(hidden, nn.Linear(128, 10))


def evaluate(model, loader):
    """Mean loss and accuracy over a loader."""
    model.eval()
    loss = correct = count = 0
    with nc.no_grad():
        for x, y in loader:
            logits = model(x)
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            correct += (logits.argmax(1) == y).sum().item()
            count += len(y)
    return loss / count, correct / count


def train_epoch(model, loader, optimizer, bar):
    """One pass over the training set; mean loss and accuracy."""
    model.train()
    total = correct = count = 0
    for x, y in loader:
        optimizer.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        hits = (logits.argmax(1) == y).sum()
        optimizer.step()
        total += loss.item() * len(y)
        correct += hits.item()
        count += len(y)
        bar.set_postfix(loss=f"{total / count:.4f}", accuracy=f"{correct / count:.1%}", refresh=False)
        bar.update(len(y))
    return total / count, correct / count


def plot(history, path):
    """Learning curves: history has rows of training loss, training accuracy, held-out loss, held-out accuracy."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = range(1, len(history) + 1)
    for column, (axis, name) in enumerate(zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True)):
        axis.plot(epochs, [(row[column], row[column + 2]) for row in history], label=["training", "held out"])
        axis.set(xlabel="epoch", ylabel=name)
        axis.legend()
    figure.savefig(path, dpi=120)


def main(epochs=20, batch_size=32, lr=4e-3, seed=0, device=None, out="runs/digits"):
    with nc.device(device) as chosen:
        nc.manual_seed(seed)
        data = TensorDataset(*map(nc.tensor, load_images()))
        training, held_out = random_split(data, [0.8, 0.2])
        train_loader, test_loader = DataLoader(training, batch_size, shuffle=True), DataLoader(held_out, 256)
        model = make_model()
        optimizer = nc.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
        print(f"digits: {len(training)} for training, {len(held_out)} held out, on {chosen.name}")
        history = []
        with tqdm(total=epochs * len(training), unit=" samples", unit_scale=True, mininterval=0.5) as bar:
            for epoch in range(epochs):
                bar.set_description(f"epoch {epoch + 1}/{epochs}", refresh=False)
                optimizer.param_groups[0]["lr"] = lr * (1 - epoch / epochs)  # a new number compiles nothing
                row = train_epoch(model, train_loader, optimizer, bar)
                history.append((*row, *evaluate(model, test_loader)))
        loss, accuracy = history[-1][2:]
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint, picture = folder / "digits.safetensors", folder / "digits.png"
        nc.save(model.state_dict(), checkpoint)
        plot(history, picture)
        print(f"held out: loss {loss:.4f}, accuracy {accuracy:.2%}")
        print(f"checkpoint: {checkpoint}\nlearning curves: {picture}")
        return {"loss": loss, "accuracy": accuracy, "checkpoint": str(checkpoint), "curves": str(picture)}


if __name__ == "__main__":
    main()
