"""Transforms of the second generation, and features taken out of models."""

import importlib

from tests.vision_cases import vision_of


def sample(torch):
    vision = vision_of(torch)
    tv = importlib.import_module(f"{vision.__name__}.tv_tensors")
    image = tv.Image((torch.arange(3 * 20 * 30) % 251).to(torch.uint8).view(3, 20, 30))
    boxes = tv.BoundingBoxes([[2, 3, 12, 13], [5, 5, 25, 18]], format="XYXY", canvas_size=(20, 30))
    mask = tv.Mask((torch.arange(600).view(1, 20, 30) % 7 == 0).to(torch.uint8))
    return tv, {"image": image, "target": {"boxes": boxes, "mask": mask, "label": torch.tensor([1, 2]), "id": 7}}


def second(torch):
    return importlib.import_module(f"{vision_of(torch).__name__}.transforms.v2")


def case_whole_samples(torch, see):
    v2 = second(torch)
    tv, one = sample(torch)
    flips = [v2.RandomHorizontalFlip(1.0), v2.RandomVerticalFlip(1.0)]
    kinds = {tv.Image: torch.float32, tv.Mask: torch.int64, "others": None}
    for transform in [
        *flips, v2.Resize((10, 15)), v2.Resize(12), v2.CenterCrop(10), v2.RandomCrop(10), v2.RandomCrop((20, 10)),
        v2.RandomCrop(24, padding=3), v2.RandomResizedCrop(9), v2.Pad(3), v2.Pad([1, 2, 3, 4]),
        v2.ColorJitter(0.3, 0.3, 0.3, 0.1), v2.RandomGrayscale(1.0), v2.RandomApply([flips[0]], p=0.7),
        v2.RandomChoice(flips), v2.RandomOrder([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]),
        v2.ConvertBoundingBoxFormat("CXCYWH"), v2.ClampBoundingBoxes(), v2.ToDtype(kinds, scale=True),
        v2.ToPureTensor(), v2.RandomShortestSize([8, 12]), v2.Identity(),
    ]:  # fmt: skip
        torch.manual_seed(3)
        out = transform(one)
        boxes, mask = out["target"]["boxes"], out["target"]["mask"]
        see(
            repr(transform).split("(")[0],
            type(out["image"]).__name__,
            list(out["image"].shape),
            str(out["image"].dtype),
        )
        see(round(float(out["image"].double().mean()), 2), boxes.tolist(), list(getattr(boxes, "canvas_size", ())))
        see(list(mask.shape), str(mask.dtype), int(mask.sum()), out["target"]["label"].tolist(), out["target"]["id"])
        see(float(torch.rand(1)))


def case_chains(torch, see):
    v2 = second(torch)
    _, one = sample(torch)
    chain = v2.Compose([
        v2.RandomResizedCrop((8, 8), antialias=True), v2.RandomHorizontalFlip(),
        v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.2] * 3),
    ])  # fmt: skip
    see(repr(chain))
    out = chain(one["image"])
    see(round(float(out.sum()), 3), type(out).__name__)
    image, label = v2.RandomHorizontalFlip(1.0)(torch.arange(4.0).view(1, 2, 2), 5)
    see(image, label)
    see(v2.ToDtype(torch.float32, scale=True)(torch.tensor([[[0, 255]]], dtype=torch.uint8)))


def case_mixtures(torch, see):
    v2 = second(torch)
    for cls in (v2.MixUp, v2.CutMix):
        torch.manual_seed(1)
        images, labels = cls(num_classes=3)(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 1]))
        see(round(float(images.sum()), 2), [[round(v, 4) for v in row] for row in labels.tolist()])
    see.error(lambda: v2.MixUp()(torch.rand(2, 3, 4, 4), torch.tensor([0, 1])))


def case_things_that_say_what_they_are(torch, see):
    tv, one = sample(torch)
    x = one["image"]
    see(type(x + 1).__name__, type(x.clone()).__name__, type(x.to(torch.float32)).__name__, type(x[0]).__name__)
    see(repr(one["target"]["boxes"]), repr(tv.Mask(torch.zeros(1, 2))))
    see(type(tv.wrap(torch.ones(3, 2, 2), like=x)).__name__)
    bad = tv.BoundingBoxes([[2, 3, 12, 13], [5, 5, 5, 18], [-1, 2, 3, 4]], format="XYXY", canvas_size=(20, 30))
    out = second(torch).SanitizeBoundingBoxes()({"boxes": bad, "labels": torch.tensor([1, 2, 3])})
    see(out["boxes"].tolist(), out["labels"].tolist())
    see.error(lambda: tv.BoundingBoxes([1, 2, 3], format="XYXY", canvas_size=(2, 2)))


def case_features(torch, see):
    vision = vision_of(torch)
    features = importlib.import_module(f"{vision.__name__}.models.feature_extraction")
    torch.manual_seed(0)
    net = vision.models.resnet18(num_classes=4)
    names = features.get_graph_node_names(net)
    see(names[0][:12], len(names[0]), names[0] == names[1], net.training)
    extractor = features.create_feature_extractor(net, {"layer1": "early", "layer4.1.relu_1": "late"})
    torch.manual_seed(1)
    x = torch.rand(2, 3, 64, 64)
    for mode in (True, False):
        out = extractor.train(mode)(x)
        see({k: [list(v.shape), round(float(v.detach().double().mean()), 4)] for k, v in out.items()})
    see(len(list(extractor.parameters())))
    see.error(lambda: features.create_feature_extractor(net, ["nothing"]))
    see.error(lambda: features.create_feature_extractor(net))
