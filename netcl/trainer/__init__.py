"""The Trainer: the loop around a model, with metrics, checkpoints that resume bit for bit, logging and curves."""

from netcl.trainer.callbacks import BestModel, Callback, EarlyStopping
from netcl.trainer.history import History
from netcl.trainer.loggers import CSVLogger, TensorBoard
from netcl.trainer.trainer import Trainer

__all__ = ["BestModel", "CSVLogger", "Callback", "EarlyStopping", "History", "TensorBoard", "Trainer"]
