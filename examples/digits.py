"""Handwritten digits: a classifier for scikit-learn's 1,797 images of 8 x 8 pixels. Run it by `netcl train digits`."""

import numpy as np
from sklearn.datasets import load_digits

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


def train_by_hand(model, loader, optimizer, schedule, epochs):
    """What Trainer.fit does, without it: the same steps, and the same weights."""
    for epoch in range(epochs):
        model.train()
        total = correct = count = 0
        for x, y in loader:
            optimizer.zero_grad()
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            total = total + loss.detach() * len(y)  # added up on the device: .item() would wait for every step
            correct = correct + (logits.argmax(1) == y).sum()
            count += len(y)
        schedule.step()
        print(f"epoch {epoch + 1}/{epochs}  loss {total.item() / count:.4f}  accuracy {correct.item() / count:.2%}")


def main(epochs=20, batch_size=32, lr=4e-3, seed=0, device=None, out="runs/digits", by_hand=False):
    with nc.device(device) as chosen:
        nc.manual_seed(seed)
        data = TensorDataset(*map(nc.tensor, load_images()))
        training, held_out = random_split(data, [0.8, 0.2])
        train_loader, test_loader = DataLoader(training, batch_size, shuffle=True), DataLoader(held_out, 256)
        model = make_model()
        optimizer = nc.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
        schedule = nc.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 - epoch / epochs)
        print(f"digits: {len(training)} for training, {len(held_out)} held out, on {chosen.name}")
        trainer = nc.Trainer(model, optimizer, F.cross_entropy, scheduler=schedule)
        if by_hand:
            train_by_hand(model, train_loader, optimizer, schedule, epochs)
        else:
            trainer.fit(train_loader, test_loader, epochs)
        found = trainer.evaluate(test_loader)
        print(f"held out: loss {found['loss']:.4f}, accuracy {found['accuracy']:.2%}, F1 {found['f1']:.4f}")
        return found | trainer.save_results(out, "digits", names=["loss", "accuracy"])


if __name__ == "__main__":
    main()
