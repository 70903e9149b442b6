"""Letters: invents given names after the 5,163 of the US census of 1990. Run it by `netcl train letters`."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.data import DataLoader, TensorDataset, random_split, sets

LETTERS, WINDOW = ".abcdefghijklmnopqrstuvwxyz", 6  # the dot is before and after a name; how many the model sees


def windows(names):
    """For each letter, and for the end of each name: the WINDOW letters before it, and itself, as numbers."""
    rows = [[0] * WINDOW + [LETTERS.index(letter) for letter in name] + [0] for name in names]
    pairs = [(row[i : i + WINDOW], row[i + WINDOW]) for row in rows for i in range(len(row) - WINDOW)]
    return TensorDataset(*(nc.tensor(part) for part in map(list, zip(*pairs, strict=True))))


def make_model():
    """Each letter becomes 10 numbers that are learnt; from those of the window, logits for the next one."""
    hidden = nn.Sequential(nn.Linear(10 * WINDOW, 192), nn.LayerNorm(192), nn.GELU(), nn.Dropout(0.2))
    return nn.Sequential(nn.Embedding(len(LETTERS), 10), nn.Flatten(), hidden, nn.Linear(192, len(LETTERS)))


def run_epoch(model, loader, optimizer=None, bar=None):
    """One pass, which trains if given an optimizer; among how many letters the model hesitates (its perplexity)."""
    model.train(optimizer is not None)
    total = count = 0
    for x, y in loader:
        with nc.set_grad_enabled(optimizer is not None):
            loss = F.cross_entropy(model(x), y)
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            bar.update(len(y))
        total, count = total + loss.item() * len(y), count + len(y)
    return float(np.exp(total / count))


@nc.no_grad()
def invent(model, count):
    """Names of at most 15 letters, drawn all at once, a letter at a time."""
    letters = nc.zeros(count, WINDOW, dtype=nc.int64)
    for _ in range(15):
        chances = F.softmax(model(letters[:, -WINDOW:]), dim=1)
        letters = nc.cat([letters, chances.multinomial(1)], dim=1)
    return ["".join(LETTERS[i] for i in row[WINDOW:]).partition(".")[0].title() for row in letters.tolist()]


def plot(history, path):
    """Learning curves: history has rows of training and held-out perplexity."""
    axis = Figure(layout="constrained").subplots()
    axis.plot(range(1, len(history) + 1), history, label=["training", "held out"])
    axis.set(xlabel="epoch", ylabel=f"perplexity (of {len(LETTERS)})")
    axis.legend()
    axis.figure.savefig(path, dpi=120)


def main(epochs=12, batch_size=256, lr=4e-3, seed=0, device=None, out="runs/letters"):
    with nc.device(device) as chosen:
        nc.manual_seed(seed)
        training, held_out = map(windows, random_split(sets.given_names(), [0.9, 0.1]))
        train_loader, test_loader = DataLoader(training, batch_size, shuffle=True), DataLoader(held_out, 1024)
        model = make_model()
        optimizer = nc.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
        print(f"letters: {len(training)} for training, {len(held_out)} held out, on {chosen.name}")
        history = []
        with tqdm(total=epochs * len(training), unit=" letters", unit_scale=True, mininterval=0.5) as bar:
            for epoch in range(epochs):
                bar.set_description(f"epoch {epoch + 1}/{epochs}", refresh=False)
                optimizer.param_groups[0]["lr"] = lr * (1 - epoch / epochs)
                history.append((run_epoch(model, train_loader, optimizer, bar), run_epoch(model, test_loader)))
        names, perplexity = invent(model, 12), history[-1][1]
        Path(out).mkdir(parents=True, exist_ok=True)
        checkpoint, picture = Path(out) / "letters.safetensors", Path(out) / "letters.png"
        nc.save(model.state_dict(), checkpoint)
        plot(history, picture)
        print(f"held out: perplexity {perplexity:.2f}\ninvented: {', '.join(names)}")
        print(f"checkpoint: {checkpoint}\nlearning curves: {picture}")
        return {"perplexity": perplexity, "names": names, "checkpoint": str(checkpoint), "curves": str(picture)}


if __name__ == "__main__":
    main()
