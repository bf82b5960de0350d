"""Grids, boxes, layers, models, data of noise."""

import hashlib

from tests.vision_cases import digest, vision_of

QUICK = ("resnet18", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_0", "squeezenet1_1", "shufflenet_v2_x0_5")
LARGE = ("resnet50", "resnext50_32x4d", "wide_resnet50_2", "vgg11", "vgg16_bn", "alexnet", "densenet121", "googlenet",
         "mobilenet_v3_large", "efficientnet_b0", "efficientnet_b5", "efficientnet_v2_s", "convnext_tiny",
         "vit_b_32")  # fmt: skip


def model(torch, see, name):
    """Notes the names in a model's state, its fresh weights, and what it makes of an image."""
    torch.manual_seed(0)
    more = {"init_weights": True} if name == "googlenet" else {}
    net = getattr(vision_of(torch).models, name)(num_classes=10, **more)
    state = net.state_dict()
    names = " ".join(f"{key}{tuple(value.shape)}" for key, value in state.items())
    see(len(state), hashlib.sha256(names.encode()).hexdigest())
    see(sum((i % 7 + 1) * value.double().abs().sum().item() for i, value in enumerate(state.values())))
    torch.manual_seed(1)
    images = torch.randn(2, 3, *([224, 224] if name.startswith("vit") else [64, 64]))
    net.eval()
    with torch.no_grad():
        see([round(v, 4) for v in net(images)[0].tolist()])


def case_quick_models(torch, see):
    for name in QUICK:
        model(torch, see, name)


def case_large_models(torch, see):
    for name in LARGE:
        model(torch, see, name)


def case_grids(torch, see):
    U = vision_of(torch).utils
    images = torch.rand(10, 1, 7, 6)
    see(digest(torch, U.make_grid(images, nrow=4)), digest(torch, U.make_grid(list(images), padding=0)))
    see(digest(torch, U.make_grid(images, normalize=True, scale_each=True, pad_value=0.5)))
    see(digest(torch, U.make_grid(images - 0.5, normalize=True, value_range=(-0.2, 0.3))))
    see(digest(torch, U.make_grid(images[0, 0])), digest(torch, U.make_grid(images[:1])))
    see.error(lambda: U.make_grid("x"))
    see.error(lambda: U.make_grid([1]))


def case_boxes(torch, see):
    O = vision_of(torch).ops
    one, two = torch.rand(30, 4) * 40, torch.rand(7, 4) * 40
    one[:, 2:] += one[:, :2] + 2
    two[:, 2:] += two[:, :2] + 2
    for function in (O.box_iou, O.generalized_box_iou, O.distance_box_iou, O.complete_box_iou):
        see(digest(torch, function(one, two)))
    see(O.box_area(one), O.clip_boxes_to_image(one, (30, 35)), O.remove_small_boxes(one, 15))
    for start in ("xyxy", "xywh", "cxcywh"):
        for end in ("xyxy", "xywh", "cxcywh"):
            see(digest(torch, O.box_convert(one, start, end)))
    see.error(lambda: O.box_convert(one, "xyxy", "x"))
    see(O.masks_to_boxes(torch.rand(3, 9, 9) > 0.9))
    for function in (O.generalized_box_iou_loss, O.distance_box_iou_loss, O.complete_box_iou_loss):
        see(function(one[:7], two, "mean").item(), function(one[:7], two).tolist())


def case_layers(torch, see):
    O = vision_of(torch).ops
    logits, targets = torch.randn(30, 4, requires_grad=True), (torch.rand(30, 4) > 0.5).float()
    loss = O.sigmoid_focal_loss(logits, targets, reduction="mean")
    loss.backward()
    see(loss.item(), logits.grad, O.sigmoid_focal_loss(logits, targets, alpha=-1, reduction="sum").item())
    see(O.StochasticDepth(0.4, "row")(torch.ones(6, 2)), O.DropBlock2d(0.3, 3)(torch.ones(2, 3, 8, 8)))
    see(str(O.MLP(4, [8, 2], norm_layer=torch.nn.LayerNorm, dropout=0.1)), str(O.FrozenBatchNorm2d(3)))
    see(O.SqueezeExcitation(4, 2)(torch.rand(1, 4, 2, 2)), str(O.Conv2dNormActivation(3, 4, dilation=2)))
    pyramid = O.FeaturePyramidNetwork([4, 8], 6)
    out = pyramid({"a": torch.randn(1, 4, 8, 8), "b": torch.randn(1, 8, 4, 4)})
    see(list(pyramid.state_dict()), [digest(torch, v) for v in out.values()])


def case_noise(torch, see):
    vision = vision_of(torch)
    data = vision.datasets.FakeData(20, (3, 16, 16), transform=vision.transforms.ToTensor())
    see([[digest(torch, data[i][0]), data[i][1]] for i in range(4)], torch.rand(1).item(), str(data))
