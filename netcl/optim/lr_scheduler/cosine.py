"""Rates that follow half a cosine wave."""

from __future__ import annotations

from math import cos, floor, log, pi

from netcl.graph.effects import repeated
from netcl.optim.lr_scheduler.base import LRScheduler
from netcl.optim.optimizer import Optimizer


class CosineAnnealingLR(LRScheduler):
    """Down from the first rate to eta_min along half a cosine wave of `T_max` epochs, and up again.

    Loshchilov and Hutter (2017), "SGDR", without the restarts. `CosineAnnealingLR(optimizer, T_max=epochs)`
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _height(self, epoch: int) -> float:
        return 1 + cos(pi * epoch / self.T_max)  # from 2, at epoch 0, to 0

    def get_lr(self) -> list[float]:
        """The groups' rates at `self.last_epoch`."""
        self._warn_outside_step()
        epoch = self.last_epoch
        if self._is_initial or epoch == 0:
            return self._rates()
        if (epoch - 1) % (2 * self.T_max) == self.T_max:  # the last height was 0: there is nothing to scale
            return [
                rate + (base - self.eta_min) * (1 - cos(pi / self.T_max)) / 2
                for base, rate in zip(self.base_lrs, self._rates(), strict=True)
            ]
        ratio = self._height(epoch) / self._height(epoch - 1)
        return [self.eta_min + ratio * (rate - self.eta_min) for rate in self._rates()]

    def _get_closed_form_lr(self) -> list[float]:
        height = self._height(self.last_epoch)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Down to eta_min along half a cosine wave, and at once back to the first rate; the waves grow T_mult-fold.

    Loshchilov and Hutter (2017), "SGDR". The first wave has `T_0` epochs. ValueError for T_0 that is no positive
    integer and T_mult that is no integer or less than 1.

    `CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2)`; `scheduler.step(epoch + batch / batches)` for rates
    within an epoch.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, (int, float)):
            raise ValueError(f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The groups' rates at `self.T_cur` of a wave of `self.T_i` epochs."""
        self._warn_outside_step()
        height = 1 + cos(pi * self.T_cur / self.T_i)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]

    @repeated
    def step(self, epoch: float | None = None) -> None:
        """Go on to the next epoch, or to the one given, which may be a fraction. ValueError for a negative one."""
        if epoch is None and self.last_epoch >= 0:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        else:
            epoch = 0 if epoch is None else epoch
            if epoch < 0:
                raise ValueError(f"Expected non-negative epoch, but got {epoch}")
            self._find_wave(epoch)
        self._update_lr(floor(epoch))

    def _find_wave(self, epoch: float) -> None:
        if self.T_mult == 1:
            self.T_cur, self.T_i = epoch % self.T_0, self.T_0
            return
        # n waves take T_0 * (T_mult**n - 1) / (T_mult - 1) epochs.
        waves = int(log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
        self.T_cur = epoch - self.T_0 * (self.T_mult**waves - 1) / (self.T_mult - 1)
        self.T_i = self.T_0 * self.T_mult**waves
