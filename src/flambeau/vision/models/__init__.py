"""Models of image classification: torchvision's names, parameters and, from the same seed, initial weights."""

from __future__ import annotations

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
