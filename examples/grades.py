"""Grades: what cut, colour and clarity do to the price of 53,940 diamonds. Run it by `netcl train grades`."""

import numpy as np
from matplotlib.figure import Figure

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.data import DataLoader, TensorDataset, random_split, sets

GRADES = {  # each from worst to best
    "cut": ("Fair", "Good", "Very Good", "Premium", "Ideal"), "color": ("J", "I", "H", "G", "F", "E", "D"),
    "clarity": ("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"),
}  # fmt: skip


def load_diamonds():
    """The logarithm of the weight (n, 1), standardised; grades as numbers (n, 3); the logarithm of the price (n, 1)."""
    table = sets.diamonds()
    carat, price = (np.log(table[name].astype(np.float32))[:, None] for name in ("carat", "price"))
    grades = [[levels.index(grade) for grade in table[name].tolist()] for name, levels in GRADES.items()]
    return (carat - carat.mean()) / carat.std(), np.array(grades).T, price


class Model(nn.Module):
    """The logarithm of the price, of the weight and of 8 numbers for each grade, which are learnt."""

    def __init__(self):
        super().__init__()
        self.embed = nn.ModuleList(nn.Embedding(len(levels), 8) for levels in GRADES.values())
        for embed in self.embed:
            nn.init.normal_(embed.weight, std=0.1)  # small, so that what is rarely seen counts for little
        self.price = nn.Sequential(nn.Linear(1 + 8 * len(GRADES), 128), nn.GELU(), nn.Linear(128, 1))

    def forward(self, carat, grades):
        return self.price(nc.cat([carat, *(embed(g) for embed, g in zip(self.embed, grades.T, strict=True))], dim=1))


def draw(history, worth):
    """The held-out error by epoch, and the prices of each grade."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    curve, bars = figure.subfigures(1, 2, width_ratios=[1, len(GRADES)])
    if history.epochs:
        history.plot(names=["loss"], log=["loss"], labels={"loss": "mse of log(price)"}, figure=curve)
    for axis, (name, levels) in zip(bars.subplots(1, len(GRADES)), GRADES.items(), strict=True):
        axis.barh(levels, worth[name])
        axis.set(title=name, xlabel="price, $")
    return figure


@nc.no_grad()
def prices(model):
    """By grade, the price in dollars of a stone of mean weight whose other grades are in the middle."""
    worth, middle = {}, [len(levels) // 2 for levels in GRADES.values()]
    for i, (name, levels) in enumerate(GRADES.items()):
        grades = nc.tensor([[*middle[:i], level, *middle[i + 1 :]] for level in range(len(levels))])
        worth[name] = model(nc.zeros(len(levels), 1), grades).exp().flatten().tolist()
    return worth


def main(epochs=8, batch_size=256, lr=3e-3, seed=0, device=None, out="runs/grades"):
    with nc.device(device) as chosen:
        nc.manual_seed(seed)
        training, held_out = random_split(TensorDataset(*map(nc.tensor, load_diamonds())), [0.9, 0.1])
        train_loader, test_loader = DataLoader(training, batch_size, shuffle=True), DataLoader(held_out, 1024)
        model = Model()
        optimizer = nc.optim.AdamW(model.parameters(), lr=lr)
        schedule = nc.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 - epoch / epochs)
        print(f"grades: {len(training)} for training, {len(held_out)} held out, on {chosen.name}")
        trainer = nc.Trainer(model, optimizer, F.mse_loss, scheduler=schedule)
        history = trainer.fit(train_loader, test_loader, epochs)  # a batch is (carat, grades, price): the last one is y
        found, worth = trainer.evaluate(test_loader), prices(model)
        for name, levels in GRADES.items():
            print(name, *(f"{level} ${price:,.0f}" for level, price in zip(levels, worth[name], strict=True)), sep="  ")
        print(f"held out: mse {found['loss']:.4f}, R2 {found['r2']:.4f}")
        written = trainer.save_results(out, "grades", figure=draw(history, worth), about="learning curve and prices")
        return {"mse": found["loss"], "prices": worth} | written


if __name__ == "__main__":
    main()
