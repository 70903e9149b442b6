"""Letters: a text in the manner of Genesis, King James Version, letter by letter. Run it by `netcl train letters`."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.data import DataLoader, TensorDataset, sets

WINDOW = 12  # how many letters the model sees
LETTERS = "\n !'(),.:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def numbered(text):
    """Each letter's place among the LETTERS."""
    return np.array([LETTERS.index(letter) for letter in text])


def windows(text):
    """Each letter with the WINDOW letters before it, as numbers."""
    rows = np.lib.stride_tricks.sliding_window_view(numbered(text), WINDOW + 1)
    return TensorDataset(nc.tensor(rows[:, :-1]), nc.tensor(rows[:, -1]))


def make_model():
    """Each letter becomes 16 numbers that are learnt; from those of the window, logits for the next one."""
    hidden = nn.Sequential(nn.Linear(16 * WINDOW, 256), nn.LayerNorm(256), nn.GELU(), nn.Dropout(0.1))
    return nn.Sequential(nn.Embedding(len(LETTERS), 16), nn.Flatten(), hidden, nn.Linear(256, len(LETTERS)))


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
        total, count = total + loss.detach() * len(y), count + len(y)
    return float(np.exp(total.item() / count))


@nc.no_grad()
def write(model, start, count):
    """The start, and `count` letters after it, each drawn with the chances that the model gives it."""
    seen, text = nc.tensor(numbered(start.rjust(WINDOW)[-WINDOW:]))[None], start
    for _ in range(count):
        drawn = F.softmax(model(seen), dim=1).multinomial(1)
        seen = nc.cat([seen[:, 1:], drawn], dim=1)
        text += LETTERS[drawn.item()]
    return text


def plot(history, path):
    """Learning curves: history has rows of training and held-out perplexity."""
    axis = Figure(layout="constrained").subplots()
    axis.plot(range(1, len(history) + 1), history, label=["training", "held out"])
    axis.set(xlabel="epoch", ylabel=f"perplexity (of {len(LETTERS)})")
    axis.legend()
    axis.figure.savefig(path, dpi=120)


def main(epochs=5, batch_size=256, lr=4e-3, seed=0, device=None, out="runs/letters"):
    with nc.device(device) as chosen:
        nc.manual_seed(seed)
        text = sets.king_james("Genesis")
        training, held_out = windows(text[: len(text) * 9 // 10]), windows(text[len(text) * 9 // 10 :])
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
        written, perplexity = write(model, "And God said", 300), history[-1][1]
        Path(out).mkdir(parents=True, exist_ok=True)
        checkpoint, picture = Path(out) / "letters.safetensors", Path(out) / "letters.png"
        nc.save(model.state_dict(), checkpoint)
        plot(history, picture)
        print(f"held out: perplexity {perplexity:.2f}\n{written}")
        print(f"checkpoint: {checkpoint}\nlearning curves: {picture}")
        return {"perplexity": perplexity, "text": written, "checkpoint": str(checkpoint), "curves": str(picture)}


if __name__ == "__main__":
    main()
