"""Models of image classification: torchvision's names, parameters and, from the same seed, initial weights."""

from __future__ import annotations

import sys as _sys

from flambeau.vision.models._registry import (
    WEIGHTS as _WEIGHTS,
)
from flambeau.vision.models._registry import (
    WeightsEnum,
    get_model,
    get_model_builder,
    get_model_weights,
    get_weight,
    list_models,
)
from flambeau.vision.models.alexnet import *
from flambeau.vision.models.convnext import *
from flambeau.vision.models.densenet import *
from flambeau.vision.models.efficientnet import *
from flambeau.vision.models.googlenet import *
from flambeau.vision.models.mobilenet import *
from flambeau.vision.models.resnet import *
from flambeau.vision.models.shufflenet import *
from flambeau.vision.models.squeezenet import *
from flambeau.vision.models.vgg import *
from flambeau.vision.models.vision_transformer import *

globals().update(_WEIGHTS)
for _part in "alexnet convnext densenet efficientnet googlenet resnet squeezenet vgg vision_transformer".split():
    vars(_sys.modules[f"{__name__}.{_part}"]).update(_WEIGHTS)  # programs import them from there as well
