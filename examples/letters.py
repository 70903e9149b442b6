"""Letters: a text in the manner of Genesis, King James Version, letter by letter. Run it by `netcl train letters`."""

import numpy as np

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


@nc.no_grad()
def write(model, start, count):
    """The start, and `count` letters after it, each drawn with the chances that the model gives it."""
    seen, text = nc.tensor(numbered(start.rjust(WINDOW)[-WINDOW:]))[None], start
    for _ in range(count):
        drawn = F.softmax(model(seen), dim=1).multinomial(1)
        seen = nc.cat([seen[:, 1:], drawn], dim=1)
        text += LETTERS[drawn.item()]
    return text


def main(epochs=5, batch_size=256, lr=4e-3, seed=0, device=None, out="runs/letters"):
    with nc.device(device) as chosen:
        nc.manual_seed(seed)
        text = sets.king_james("Genesis")
        training, held_out = windows(text[: len(text) * 9 // 10]), windows(text[len(text) * 9 // 10 :])
        train_loader, test_loader = DataLoader(training, batch_size, shuffle=True), DataLoader(held_out, 1024)
        model = make_model()
        optimizer = nc.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
        schedule = nc.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 - epoch / epochs)
        print(f"letters: {len(training)} for training, {len(held_out)} held out, on {chosen.name}")
        trainer = nc.Trainer(model, optimizer, F.cross_entropy, metrics="perplexity", scheduler=schedule)
        trainer.fit(train_loader, test_loader, epochs)
        found = trainer.evaluate(test_loader) | {"text": write(model.eval(), "And God said", 300)}
        print(f"held out: perplexity {found['perplexity']:.2f}\n{found['text']}")
        labels = {"perplexity": f"perplexity (of {len(LETTERS)})"}
        return found | trainer.save_results(out, "letters", names=["perplexity"], labels=labels)


if __name__ == "__main__":
    main()
