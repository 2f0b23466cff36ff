"""Knowledge distillation, taught with claims that are tested: `import kdcourse as kd` gives a learner everything."""

__version__ = "0.1.0"

from kdcourse import data, lesson, losses, models, recipe, study, teachers, training
from kdcourse.data import Dataset, Split, hold_out, jitter, load
from kdcourse.lesson import start
from kdcourse.study import SweepError, run, sweep
from kdcourse.training import Batch, correct, fit, predict_logits

__all__ = [
    "Batch",
    "Dataset",
    "Split",
    "SweepError",
    "correct",
    "data",
    "fit",
    "hold_out",
    "jitter",
    "lesson",
    "load",
    "losses",
    "models",
    "predict_logits",
    "recipe",
    "run",
    "start",
    "study",
    "sweep",
    "teachers",
    "training",
]
