"""How good a network is on labelled data, by the path that is deployed: `evaluate` and what it returns."""

from roadedge.evaluation.report import EvalResult, print_table
from roadedge.evaluation.run import evaluate, evaluate_model
from roadedge.evaluation.settings import EvalSettings

__all__ = ["EvalResult", "EvalSettings", "evaluate", "evaluate_model", "print_table"]
