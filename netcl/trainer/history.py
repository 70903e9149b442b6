"""History: what each epoch gave, as columns, as a table and as curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HELD_OUT = "val_"  # before the name of what was measured on the validation data
_PLAIN = ("lr", "seconds")  # columns that are no measurements


class History(Mapping):
    """Columns by name, with a number for each epoch: history["val_loss"][-1]. `interrupted`: Ctrl-C ended the training.

    >>> from netcl import History
    >>> history = History([{"loss": 0.5, "val_loss": 0.75}, {"loss": 0.25, "val_loss": 0.5}])
    >>> history["loss"], history.last["val_loss"], history.best("val_loss")
    ([0.5, 0.25], 0.5, 2)
    >>> print(history)
    epoch  loss  val_loss
        1   0.5      0.75
        2  0.25       0.5
    """

    def __init__(self, rows: Sequence[dict[str, float]] = ()) -> None:
        self.rows: list[dict[str, float]] = [dict(row) for row in rows]
        self.interrupted = False

    def append(self, row: dict[str, float]) -> None:
        """Add an epoch."""
        self.rows.append(row)

    @property
    def last(self) -> dict[str, float]:
        """The last epoch's numbers; empty before the first."""
        return self.rows[-1] if self.rows else {}

    @property
    def epochs(self) -> int:
        """How many there were."""
        return len(self.rows)

    def __getitem__(self, name: str) -> list[float]:
        if not any(name in row for row in self.rows):
            raise KeyError(f"{name!r}; the history has {', '.join(self) or 'no epochs'}")
        return [row.get(name, float("nan")) for row in self.rows]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for row in self.rows for name in row))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def best(self, name: str, highest: bool = False) -> int:
        """The epoch, counted from 1, in which a column was lowest (or highest); nan is never best. ValueError if none
        is a number."""
        sign = 1 if highest else -1
        numbers = [(sign * value, -epoch) for epoch, value in enumerate(self[name], 1) if value == value]
        if not numbers:
            raise ValueError(f"no epoch has a number for {name!r}")
        return -max(numbers)[1]

    def table(self) -> str:
        """A line for each epoch, under the columns' names."""
        names = list(self)
        lines = [["epoch", *names]]
        for number, row in enumerate(self.rows, 1):
            lines.append([str(number), *(f"{row[name]:.4g}" if name in row else "" for name in names)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    __str__ = table

    def __repr__(self) -> str:
        return f"<History of {self.epochs} epochs: {', '.join(self)}>"

    def plot(
        self, path: Any = None, names: Sequence[str] | None = None, log: Sequence[str] = (), labels: Any = None,
        figure: Any = None,
    ) -> Any:  # fmt: skip
        """Curves over the epochs, an axis for each of `names` (default: everything measured), training and held out.

        path: where the picture goes (PNG, or what its ending says). log: names with a logarithmic axis. labels: texts
        for the axes, by name. figure: a matplotlib figure or subfigure to draw in. Returns it.
        ModuleNotFoundError, saying what to install, without matplotlib.
        """
        shown = list(names) if names is not None else self.measured
        if not shown:
            raise ValueError("there is nothing to plot: the history has no epochs")
        for name in shown:
            if name not in self and HELD_OUT + name not in self:
                raise KeyError(f"{name!r}; the history has {', '.join(self) or 'no epochs'}")
        if figure is None:
            figure = _figure(len(shown))
        axes = figure.subplots(1, len(shown), squeeze=False)[0]
        epochs = range(1, self.epochs + 1)
        for axis, name in zip(axes, shown, strict=True):
            for column, label in ((name, "training"), (HELD_OUT + name, "held out")):
                if any(column in row for row in self.rows):
                    axis.plot(epochs, self[column], label=label, marker="." if self.epochs == 1 else None)
            if name in log:
                axis.set_yscale("log")
            axis.set(xlabel="epoch", ylabel=(labels or {}).get(name, name))
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.legend()
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=120)
        return figure

    @property
    def measured(self) -> list[str]:
        """What there are curves of: the loss and the metrics, without the prefix of held-out ones."""
        return list(dict.fromkeys(name.removeprefix(HELD_OUT) for name in self if name not in _PLAIN))

    def written(self, row: dict[str, float] | None = None) -> str:
        """An epoch (default: the last) in a line: training, then held out."""
        row = self.last if row is None else row
        told = [(name, value) for name, value in row.items() if name not in _PLAIN]
        return "  ".join(f"{name} {value:.4g}" for name, value in told)


def _figure(count: int) -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"History.plot draws with matplotlib ({error}): pip install 'netcl[examples]'"
        ) from error
    return Figure(figsize=(max(5, 4.5 * count), 4), layout="constrained")
