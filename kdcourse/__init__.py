"""Knowledge distillation, taught with claims that are tested: `import kdcourse as kd` gives a learner everything."""

__version__ = "0.1.0"

from kdcourse import (
    checks,
    claims,
    condense,
    controls,
    data,
    datafree,
    ensembles,
    features,
    lesson,
    losses,
    metric,
    modelpool,
    models,
    plots,
    poison,
    power,
    privacy,
    recipe,
    relations,
    study,
    teachers,
    training,
    unlabelled,
    unrolled,
)
from kdcourse.claims import judge
from kdcourse.data import Dataset, Split, hold_out, jitter, load
from kdcourse.lesson import start
from kdcourse.quizzes import ask as quiz
from kdcourse.study import SweepError, run, sweep
from kdcourse.training import Batch, correct, fit, predict_logits

__all__ = [
    "Batch",
    "Dataset",
    "Split",
    "SweepError",
    "checks",
    "claims",
    "condense",
    "controls",
    "correct",
    "data",
    "datafree",
    "ensembles",
    "features",
    "fit",
    "hold_out",
    "jitter",
    "judge",
    "lesson",
    "load",
    "losses",
    "metric",
    "modelpool",
    "models",
    "plots",
    "poison",
    "power",
    "predict_logits",
    "privacy",
    "quiz",
    "recipe",
    "relations",
    "run",
    "start",
    "study",
    "sweep",
    "teachers",
    "training",
    "unlabelled",
    "unrolled",
]
