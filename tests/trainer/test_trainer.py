"""Trainer.fit, evaluate and predict: what they compute, and that nothing is read within an epoch."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.data import DataLoader, TensorDataset
from netcl.trainer import Callback


def numbers(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    return x, x.sum(1, keepdims=True) + 1


def regression(batch: int = 8, count: int = 40, **options: Any) -> tuple[nc.Trainer, DataLoader]:
    nc.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = nc.optim.SGD(model.parameters(), lr=0.1)
    return nc.Trainer(model, optimizer, F.mse_loss, **options), DataLoader(TensorDataset(*numbers(count)), batch)


def classes(**options: Any) -> tuple[nc.Trainer, DataLoader]:
    nc.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    model = nn.Linear(4, 3)
    trainer = nc.Trainer(model, nc.optim.Adam(model.parameters(), lr=0.05), nn.CrossEntropyLoss(), **options)
    return trainer, DataLoader(TensorDataset(x, x[:, :3].argmax(1)), 16)


def weights(trainer: nc.Trainer) -> bytes:
    return b"".join(value.numpy().tobytes() for value in trainer.model.state_dict().values())


def test_fit_is_the_loop_that_one_would_write(device) -> None:
    trainer, loader = regression(clip=0.1)
    trainer.fit(loader, epochs=3, progress=False)
    hand, loader = regression()
    for _ in range(3):
        total = 0.0
        for x, y in loader:
            hand.optimizer.zero_grad()
            loss = F.mse_loss(hand.model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(hand.model.parameters(), 0.1)
            hand.optimizer.step()
            total += loss.item() * len(x)
    assert weights(trainer) == weights(hand)
    assert trainer.history["loss"][-1] == pytest.approx(total / 40, rel=1e-6)


def test_nothing_is_read_and_as_many_kernels_run_for_each_batch() -> None:
    counts = []
    for size in (40, 80, 120):
        trainer, loader = regression(count=size, ema=0.9, clip=1.0)
        trainer.fit(loader, loader, progress=False)
        with nc.profiler.count_reads() as reads, nc.profiler.count_launches() as launches:
            trainer.fit(loader, loader, progress=False)
        counts.append((int(reads), int(launches)))
    assert counts[0][0] == counts[1][0] == counts[2][0]
    assert counts[1][1] - counts[0][1] == counts[2][1] - counts[1][1]
    most = 14 if nc.current_device().target == "cpu" else 30  # for a step and a batch of validation
    assert (counts[1][1] - counts[0][1]) / 5 <= most


def test_regression_tells_loss_mae_and_r2(capsys) -> None:
    trainer, loader = regression()
    history = trainer.fit(loader, loader, epochs=2)
    assert set(history) == {"loss", "mae", "r2", "val_loss", "val_mae", "val_r2", "lr", "seconds"}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("epoch 2/2  loss ")
    assert "val_r2" in lines[1] and "accuracy" not in lines[1]
    _, y = numbers()
    predicted = trainer.predict(loader).numpy()
    assert history["val_loss"][-1] == pytest.approx(float(np.mean((predicted - y) ** 2)), rel=1e-5)
    assert history["val_mae"][-1] == pytest.approx(float(np.abs(predicted - y).mean()), rel=1e-5)
    assert history["val_r2"][-1] == pytest.approx(1 - history["val_loss"][-1] / y.var(), rel=1e-4)


def test_classification_tells_accuracy_and_f1(capsys) -> None:
    trainer, loader = classes()
    history = trainer.fit(loader, epochs=1)
    assert set(history) == {"loss", "accuracy", "f1", "lr", "seconds"}
    assert "accuracy" in capsys.readouterr().out
    found = trainer.evaluate(loader)
    x, y = loader.dataset.tensors
    logits = trainer.predict(x)
    assert found["accuracy"] == pytest.approx((logits.numpy().argmax(1) == y).mean())
    assert found["loss"] == pytest.approx(F.cross_entropy(logits, nc.tensor(y)).item(), rel=1e-5)


def twice(count: int, parts: tuple) -> list:
    return [tuple(part[:count] for part in parts), tuple(part[count:] for part in parts)]


@pytest.mark.parametrize(
    ("loss_fn", "last", "columns"),
    [
        (F.binary_cross_entropy_with_logits, nn.Identity(), 1),
        (nn.BCEWithLogitsLoss(pos_weight=nc.tensor([2.0])), nn.Identity(), 1),
        (nn.BCELoss(), nn.Sigmoid(), 1),
        (partial(F.cross_entropy, label_smoothing=0.1), nn.Identity(), 3),
    ],
)
def test_a_loss_of_classes_with_floating_targets_tells_accuracy_and_f1(loss_fn, last, columns: int, tmp_path) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    nc.manual_seed(0)
    x, _ = numbers()
    classes = x.argmax(1) if columns > 1 else (x[:, :1] > 0).astype(int)
    target = np.eye(3)[classes] if columns > 1 else classes
    batches = twice(25, (x, target.astype(np.float32)))
    model = nn.Sequential(nn.Linear(3, columns), last)
    trainer = nc.Trainer(model, nc.optim.SGD(model.parameters(), lr=0.1), loss_fn)
    found = trainer.evaluate(batches)
    scores = trainer.predict(x).numpy()
    guesses = scores.argmax(1) if columns > 1 else scores > (0.5 if isinstance(last, nn.Sigmoid) else 0)
    assert found["accuracy"] == pytest.approx(np.mean(guesses == classes))
    average = "macro" if columns > 1 else "binary"
    assert found["f1"] == pytest.approx(sklearn.f1_score(classes.ravel(), guesses.ravel(), average=average))
    assert set(found) == {"loss", "accuracy", "f1"}
    history = trainer.fit(batches, epochs=1, checkpoint=tmp_path / "c", progress=False)
    again = nc.Trainer(model, nc.optim.SGD(model.parameters(), lr=0.0), loss_fn)
    resumed = again.fit(batches, epochs=1, checkpoint=tmp_path / "c", resume=True, progress=False)
    assert resumed["f1"] == history["f1"]
    assert again.evaluate(batches) == trainer.evaluate(batches)


def test_metrics_are_those_asked_for() -> None:
    def worst(prediction: nc.Tensor, target: nc.Tensor) -> nc.Tensor:
        return (prediction - target).abs().amax()

    trainer, loader = regression(metrics=["mse", worst, nc.metrics.of_function(worst, "twice")])
    assert set(trainer.evaluate(loader)) == {"loss", "mse", "worst", "twice"}
    trainer, loader = regression(metrics=())
    assert set(trainer.fit(loader, progress=False)) == {"loss", "lr", "seconds"}
    trainer, loader = classes(metrics="top_5")
    assert trainer.evaluate(loader)["top_5"] == 1
    trainer, loader = classes(metrics=["f1", nc.metrics.f1("micro"), nc.metrics.f1("weighted"), "accuracy"])
    found = trainer.evaluate(loader)
    assert list(found) == ["loss", "f1", "f1_micro", "f1_weighted", "accuracy"]
    assert found["f1_micro"] == pytest.approx(found["accuracy"])


@pytest.mark.parametrize("size", [4, 3])
def test_batches_that_are_accumulated_are_one_large_batch(device, size: int) -> None:
    large, loader = regression(batch=12)  # the last has 4 samples
    large.fit(loader, epochs=2, progress=False)
    small, loader = regression(batch=size, accumulate=12 // size)
    history = small.fit(loader, epochs=2, progress=False)
    assert small.steps == large.steps == 8
    for ours, theirs in zip(small.parameters, large.parameters, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert history["loss"] == pytest.approx(large.history["loss"], rel=1e-4)


def test_the_average_of_the_weights_is_what_is_measured() -> None:
    seen: list[np.ndarray] = []

    class Looking(Callback):
        def on_step_end(self, trainer: nc.Trainer) -> None:
            seen.append(trainer.model[0].weight.detach().numpy())

    trainer, loader = regression(ema=0.5, callbacks=[Looking()])
    average = trainer.model[0].weight.detach().numpy()
    trainer.fit(loader, progress=False)
    for weight in seen:
        average = 0.5 * average + 0.5 * weight
    assert trainer.ema is not None
    np.testing.assert_allclose(trainer.ema.module[0].weight.detach().numpy(), average, rtol=1e-5)
    x, _ = numbers()
    np.testing.assert_array_equal(trainer.predict(x).numpy(), trainer.ema.module(nc.tensor(x)).detach().numpy())


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, a: nc.Tensor, b: nc.Tensor) -> nc.Tensor:
        return self.layer(a) + b


def test_batches_may_be_tuples_dicts_or_anything_with_unpack() -> None:
    x, y = numbers(8)
    seen = []
    for batch, unpack in (
        ((x, y, 2 * y), None),
        ({"b": y, "a": x, "label": 2 * y}, None),
        ({"first": x, "second": y}, lambda batch: ({"a": batch["first"], "b": batch["second"]}, batch["second"] * 2)),
        ([nc.tensor(x), nc.tensor(y), nc.tensor(2 * y)], None),
    ):
        nc.manual_seed(0)
        model = TwoInputs()
        options = {} if unpack is None else {"unpack": unpack}
        loss_fn = lambda prediction, target: (prediction - target).abs().mean()  # noqa: E731
        trainer = nc.Trainer(model, nc.optim.SGD(model.parameters(), lr=0.1), loss_fn, **options)
        trainer.fit([batch] * 3, progress=False)
        seen.append((weights(trainer), trainer.predict([batch]).shape, trainer.evaluate([batch])["mae"]))
    assert seen[0] == seen[1] == seen[2] == seen[3]


def test_predict_takes_inputs_alone_and_joins_what_a_model_answers() -> None:
    class Answers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x: nc.Tensor) -> dict:
            return {"y": self.layer(x), "pair": (x, [x * 2])}

    x, _ = numbers(10)
    model = Answers()
    trainer = nc.Trainer(model, nc.optim.SGD(model.parameters(), lr=0.1), lambda p, t: p["y"].mean())
    for data in (DataLoader(TensorDataset(x), 4), [x[:4], x[4:]], DataLoader(list(x), 4)):
        found = trainer.predict(data)
        np.testing.assert_array_equal(found["pair"][0].numpy(), x)
        np.testing.assert_array_equal(found["pair"][1][0].numpy(), 2 * x)
        assert found["y"].shape == (10, 1) and not found["y"].requires_grad
    trainer.fit([(x, x)], progress=False)
    assert set(trainer.history) == {"loss", "lr", "seconds"}


def test_modes_are_as_they_were_and_dropout_is_off_when_measured() -> None:
    nc.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 64), nn.Dropout(0.5), nn.Linear(64, 1)).eval()
    trainer = nc.Trainer(model, nc.optim.SGD(model.parameters(), lr=0.01), F.mse_loss)
    batch = numbers(8)
    trainer.fit([batch], [batch], progress=False)
    assert not model.training
    model.train()
    assert trainer.evaluate([batch]) == trainer.evaluate([batch])
    assert model.training


def test_schedulers_step_by_epoch_or_by_step() -> None:
    for every, last in (("epoch", 0.1 * 0.5**2), ("step", 0.1 * 0.5**10)):
        trainer, loader = regression()
        schedule = nc.optim.lr_scheduler.StepLR(trainer.optimizer, 1, 0.5)
        trainer = nc.Trainer(trainer.model, trainer.optimizer, F.mse_loss, scheduler=schedule, scheduler_every=every)
        trainer.fit(loader, epochs=2, progress=False)
        assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(last)


def test_a_distributed_sampler_is_told_the_epoch() -> None:
    trainer, loader = regression()
    sampler = nc.data.DistributedSampler(loader.dataset, 2, 0)
    trainer.fit(DataLoader(loader.dataset, 8, sampler=sampler), epochs=3, progress=False)
    assert sampler.epoch == 2


def test_a_plateau_is_one_of_the_validation_loss() -> None:
    class Rising:
        factor = 1.0

        def __iter__(self) -> Any:
            self.factor *= 10
            yield x, y * self.factor

    x, y = numbers()
    trainer, loader = regression()
    schedule = nc.optim.lr_scheduler.ReduceLROnPlateau(trainer.optimizer, patience=0)
    trainer = nc.Trainer(trainer.model, trainer.optimizer, F.mse_loss, scheduler=schedule)
    history = trainer.fit(loader, Rising(), epochs=3, progress=False)
    assert history["loss"][2] < history["loss"][1] < history["loss"][0]
    assert history["lr"] == pytest.approx([0.1, 0.1, 0.01])


def test_validation_does_not_change_the_training() -> None:
    seen = []
    for val in (False, True):
        trainer, loader = regression()
        shuffled = DataLoader(loader.dataset, 8, shuffle=True)
        trainer.fit(shuffled, shuffled if val else None, epochs=3, progress=False)
        seen.append(weights(trainer))
    assert seen[0] == seen[1]


def test_a_second_fit_goes_on(tmp_path) -> None:
    twice, loader = regression()
    twice.fit(loader, epochs=1, progress=False)
    twice.fit(loader, epochs=1, progress=False)
    once, loader = regression()
    once.fit(loader, epochs=2, progress=False)
    assert weights(once) == weights(twice)
    assert twice.history.epochs == 2


def test_stop_ends_the_training() -> None:
    class Stopping(Callback):
        def on_step_end(self, trainer: nc.Trainer) -> None:
            trainer.stop = trainer.steps == 7

    trainer, loader = regression(callbacks=[Stopping()])
    assert trainer.fit(loader, epochs=5, progress=False).epochs == 2
    assert trainer.steps == 7


@pytest.mark.parametrize("amp", [True, "bfloat16", nc.float16])
def test_mixed_precision_trains_and_float16_has_a_scaler(device, amp: Any) -> None:
    exact, loader = regression(clip=1.0)
    exact.fit(loader, epochs=10, progress=False)
    trainer, loader = regression(amp=amp, clip=1.0)
    history = trainer.fit(loader, loader, epochs=10, progress=False)
    assert trainer.predict(loader).dtype is (nc.float16 if amp is nc.float16 else nc.bfloat16)
    assert (trainer.scaler is not None) == (amp is nc.float16)
    assert all(parameter.dtype is nc.float32 for parameter in trainer.parameters)
    # The scaler's first steps overflow, and are left out.
    assert history["val_r2"][-1] == pytest.approx(exact.history["r2"][-1], abs=0.05)
    assert history["val_r2"][-1] > 0.9


def test_a_step_is_compiled_and_gives_the_bits_of_one_that_is_not(device) -> None:
    options = {"clip": 1.0, "ema": 0.9, "accumulate": 2}
    compiled, loader = regression(**options)
    compiled.fit(loader, loader, epochs=4, progress=False)
    traced, loader = regression(compile=False, **options)
    traced.fit(loader, loader, epochs=4, progress=False)
    assert weights(compiled) == weights(traced)
    assert compiled.history["val_loss"] == traced.history["val_loss"]
    train, measure = (function.cache_info() for function in compiled._steps._later)
    assert train.traced == measure.traced == 0
    assert train.hits >= 10 and measure.hits >= 15


@pytest.mark.parametrize("amp", [nc.bfloat16, nc.float16])
def test_in_mixed_precision_every_look_at_the_same_data_gives_the_same_bits(device, amp: Any) -> None:
    seen = []
    for compiled in (True, False):
        trainer, loader = classes(amp=amp, compile=compiled)
        seen += [trainer.evaluate(loader) for _ in range(3)]  # uncompiled, recorded, replayed
    assert all(found == seen[0] for found in seen)


def test_a_model_on_another_device_than_the_current_one_is_compiled_too() -> None:
    other = next((d for d in nc.devices() if d is not nc.current_device() and d.error is None), None)
    if other is None:
        pytest.skip("needs two devices")
    trainer, loader = classes()
    model = trainer.model.to(other)
    trainer = nc.Trainer(model, nc.optim.Adam(model.parameters()), trainer.loss_fn, amp=nc.float16, clip=1.0, ema=0.9)
    trainer.fit(loader, loader, epochs=2, progress=False)  # a warning would tell of a step that is not
    assert trainer.predict(loader).device is other
    assert all(function.cache_info().traced == 0 for function in trainer._steps._later)


def wrong_loss(prediction: nc.Tensor, target: nc.Tensor) -> Any:
    return (prediction - target) ** 2


def test_what_is_wrong_is_told() -> None:
    trainer, _ = regression()
    model, optimizer = trainer.model, trainer.optimizer
    x, y = numbers(4)
    schedulers = nc.optim.lr_scheduler
    other = schedulers.StepLR(nc.optim.SGD(model.parameters(), lr=0.1), 1)
    plateau = schedulers.ReduceLROnPlateau(optimizer)
    for error, text, call in (
        (TypeError, "Module", lambda: nc.Trainer(wrong_loss, optimizer, F.mse_loss)),
        (TypeError, "Optimizer", lambda: nc.Trainer(model, 0.1, F.mse_loss)),
        (TypeError, "function", lambda: nc.Trainer(model, optimizer, "mse")),
        (ValueError, "amp", lambda: nc.Trainer(model, optimizer, F.mse_loss, amp="float64")),
        (ValueError, "clip", lambda: nc.Trainer(model, optimizer, F.mse_loss, clip=0)),
        (ValueError, "accumulate", lambda: nc.Trainer(model, optimizer, F.mse_loss, accumulate=0)),
        (TypeError, "Callback", lambda: nc.Trainer(model, optimizer, F.mse_loss, callbacks=[print])),
        (ValueError, "scheduler_every", lambda: nc.Trainer(model, optimizer, F.mse_loss, scheduler_every="batch")),
        (ValueError, "accuracy", lambda: nc.Trainer(model, optimizer, F.mse_loss, metrics=["f2"])),
        (ValueError, "'mae'", lambda: nc.Trainer(model, optimizer, F.mse_loss, metrics=["mae", nc.metrics.mae()])),
        (ValueError, "'loss'", lambda: nc.Trainer(model, optimizer, F.mse_loss, metrics=nc.metrics.LOSS)),
        (ValueError, "parameters", lambda: nc.Trainer(nn.Linear(3, 1), optimizer, F.mse_loss)),
        (TypeError, "scheduler", lambda: nc.Trainer(model, optimizer, F.mse_loss, scheduler=0.1)),
        (ValueError, "optimizer", lambda: nc.Trainer(model, optimizer, F.mse_loss, scheduler=other)),
        (
            ValueError,
            "epoch",
            lambda: nc.Trainer(model, optimizer, F.mse_loss, scheduler=plateau, scheduler_every="step"),
        ),
        (ValueError, "epochs", lambda: trainer.fit([(x, y)], epochs=-1, progress=False)),
        (ValueError, "epochs", lambda: trainer.fit([(x, y)], epochs=1.5, progress=False)),
        (TypeError, "epochs=5", lambda: trainer.fit([(x, y)], 5, progress=False)),
        (IsADirectoryError, "file", lambda: trainer.fit([(x, y)], checkpoint=".", progress=False)),
        (NotImplementedError, "LBFGS", lambda: nc.Trainer(model, nc.optim.LBFGS(model.parameters()), F.mse_loss)),
        (ValueError, "no batches", lambda: trainer.fit([], progress=False)),
        (ValueError, "no batches", lambda: trainer.evaluate([])),
        (ValueError, "no batches", lambda: trainer.predict([])),
        (TypeError, "unpack", lambda: trainer.fit([x], progress=False)),
        (ValueError, "label", lambda: trainer.fit([{"a": x, "b": y}], progress=False)),
        (TypeError, "no tensor", lambda: trainer.fit([("a", "b")], progress=False)),
        (ValueError, "one number", lambda: nc.Trainer(model, optimizer, wrong_loss).fit([(x, y)], progress=False)),
        (TypeError, "float", lambda: nc.Trainer(model, optimizer, lambda p, t: 1.0).fit([(x, y)], progress=False)),
    ):
        with pytest.raises(error, match=text):
            call()


def test_a_loader_that_is_left_early_is_closed() -> None:
    class Breaking(Callback):
        def on_step_end(self, trainer: nc.Trainer) -> None:
            raise KeyError("enough")

    trainer, loader = regression(callbacks=[Breaking()])
    with pytest.raises(KeyError, match="enough") as kept:
        trainer.fit(nc.data.prefetch(loader), progress=False)
    assert kept.value.__traceback__ is not None
    assert not [thread for thread in threading.enumerate() if thread.name == "netcl prefetch"]


def test_a_class_out_of_range_is_raised_at_the_end_of_the_epoch() -> None:
    trainer, _ = classes()
    x = np.zeros((4, 4), np.float32)
    with pytest.raises(IndexError, match="cross_entropy"):
        trainer.fit([(x, np.array([0, 1, 2, 3]))], progress=False)


def test_the_end_is_told_to_every_callback_where_one_raises() -> None:
    class Ending(Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_fit_end(self, trainer: nc.Trainer) -> None:
            told.append(self.name)
            if self.name == "first":
                raise ValueError("at the end")

    told: list[str] = []
    trainer, loader = regression(callbacks=[Ending("first"), Ending("second")])
    with pytest.raises(ValueError, match="at the end"):
        trainer.fit(loader, epochs=1, progress=False)
    assert told == ["first", "second"]
