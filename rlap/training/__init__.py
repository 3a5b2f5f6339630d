"""One training loop, what it is told, and what it leaves."""

from rlap.training.inference import accuracy, predict
from rlap.training.loop import History, TrainingDiverged, train
from rlap.training.recipe import Recipe

__all__ = [
    "History",
    "Recipe",
    "TrainingDiverged",
    "accuracy",
    "predict",
    "train",
]
