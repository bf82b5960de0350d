"""Learning-rate schedules: what an optimizer's rates do from epoch to epoch."""

from flambeau.optim._combined import ChainedScheduler, ReduceLROnPlateau, SequentialLR
from flambeau.optim._cyclic import CyclicLR, OneCycleLR
from flambeau.optim._decay import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from flambeau.optim._scheduler import LambdaLR, LRScheduler, MultiplicativeLR

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

_LRScheduler = LRScheduler  # its name in old programs
