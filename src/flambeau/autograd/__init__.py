"""Reverse-mode differentiation: the tape, grad modes, hooks, user-defined functions and checks."""

from flambeau.autograd import function, graph
from flambeau.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from flambeau.autograd.api import backward, grad
from flambeau.autograd.function import Function
from flambeau.autograd.gradcheck import gradcheck, gradgradcheck
from flambeau.autograd.runtime import enable_grad, inference_mode, no_grad, set_grad_enabled
from flambeau.autograd.variable import Variable

__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "function",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]
