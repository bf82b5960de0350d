"""Transforms of all kinds of images, three seeds each, and what they leave of the generator."""

import random

from tests.vision_cases import digest, photograph, vision_of


def chain(T):
    """Transforms that only move or look up values."""
    return [
        T.RandomCrop(24, padding=4), T.RandomCrop((24, 30), padding=(4, 2), padding_mode="reflect"),
        T.RandomCrop(60, pad_if_needed=True), T.RandomHorizontalFlip(), T.RandomVerticalFlip(0.3), T.CenterCrop(30),
        T.CenterCrop((60, 20)), T.Pad(3, padding_mode="symmetric"), T.Pad((1, 2, 3, 4), fill=9),
        T.Pad([2, 5], padding_mode="edge"), T.RandomRotation(30), T.RandomAffine(20, (0.1, 0.2), (0.8, 1.2), 10),
        T.RandomInvert(), T.FiveCrop(10), T.TenCrop((8, 12), vertical_flip=True),
        T.RandomApply([T.CenterCrop(10)], 0.5),
        T.RandomOrder([T.CenterCrop(30), T.RandomCrop(20)]), T.RandomChoice([T.CenterCrop(30), T.RandomCrop(20)]),
        T.Lambda(lambda image: image), T.RandomSolarize(0.5),
    ]  # fmt: skip


def smooth(T):
    """Transforms that compute new values."""
    bilinear, bicubic = T.InterpolationMode.BILINEAR, T.InterpolationMode.BICUBIC
    return [
        T.RandomResizedCrop(28), T.RandomResizedCrop((20, 30), interpolation=bicubic),
        T.ColorJitter(0.4, 0.4, 0.4, 0.1),
        T.RandomRotation((10, 50), interpolation=bilinear, expand=True, fill=7), T.Grayscale(), T.Grayscale(3),
        T.RandomAffine(20, (0.1, 0.2), (0.8, 1.2), (-5, 5, -3, 3), interpolation=bilinear, fill=3, center=(3, 4)),
        T.RandomPerspective(p=0.9), T.RandomGrayscale(0.5), T.GaussianBlur(5), T.GaussianBlur((3, 7), 1.3),
        T.Resize(20), T.Resize((33, 21)), T.Resize(70, max_size=80), T.RandomAdjustSharpness(2.0),
        T.RandomAutocontrast(), T.ElasticTransform(),
    ]  # fmt: skip


def policies(T):
    """Transforms of bytes, and learned policies of them."""
    kinds = T.AutoAugmentPolicy
    return [
        T.RandomPosterize(3), T.RandomSolarize(100), T.RandomEqualize(), T.AutoAugment(),
        T.AutoAugment(kinds.CIFAR10), T.AutoAugment(kinds.SVHN), T.RandAugment(3), T.TrivialAugmentWide(),
    ]  # fmt: skip


def through(torch, see, image, transforms):
    """Notes what each transform does under three seeds, its `repr`, and where the generator stands afterwards."""
    for transform in transforms:
        see(str(transform))
        for seed in range(3):
            torch.manual_seed(seed)
            random.seed(seed)
            see(digest(torch, transform(image)))
        see(torch.rand(1).item())


def case_pillow(torch, see):
    T = vision_of(torch).transforms
    image = T.ToPILImage()(photograph())
    through(torch, see, image, [*chain(T)[:-1], *smooth(T), *policies(T)])


def case_pillow_grey(torch, see):
    T = vision_of(torch).transforms
    image = T.ToPILImage()(photograph()).convert("L")
    through(torch, see, image, [*chain(T)[:-1], *smooth(T), *policies(T)])


def case_floats(torch, see):
    T = vision_of(torch).transforms
    image = T.ToTensor()(photograph())
    erasing = [T.RandomErasing(p=1.0), T.RandomErasing(p=0.7, value="random"), T.RandomErasing(value=(1, 2, 3))]
    through(torch, see, image, [*chain(T), *smooth(T), *erasing, T.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))])


def case_bytes(torch, see):
    T = vision_of(torch).transforms
    image = torch.from_numpy(photograph()).permute(2, 0, 1)
    through(torch, see, image, [*chain(T)[:-1], *policies(T)[:3], T.ConvertImageDtype(torch.float32)])


def case_batches(torch, see):
    F = vision_of(torch).transforms.functional
    images = torch.stack([torch.from_numpy(photograph()).permute(2, 0, 1) / 255.0 * k for k in (1.0, 0.5)])
    see(digest(torch, F.resize(images, [17, 23])), digest(torch, F.rotate(images, 20, fill=[0.5])))
    see(digest(torch, F.adjust_hue(images, 0.2)), digest(torch, F.adjust_gamma(images, 0.7, 1.2)))
    see(digest(torch, F.affine(images, 10, [3, 2], 1.1, [5.0], center=[1, 2])))
    see(digest(torch, F.crop(images, -3, 5, 20, 60)))
    see(F.get_dimensions(images), F.get_image_size(images), F.get_image_num_channels(images))


def case_refusals(torch, see):
    T = vision_of(torch).transforms
    F, image = T.functional, torch.rand(3, 8, 8)
    for call in (
        lambda: T.RandomCrop(9)(image), lambda: T.Resize("x"), lambda: T.Resize((1, 2, 3)), lambda: T.Pad("x"),
        lambda: T.Pad((1, 2, 3)), lambda: T.ColorJitter(brightness=-1), lambda: T.ColorJitter(hue=0.7),
        lambda: T.ColorJitter(hue="x"), lambda: T.RandomRotation(-3), lambda: T.RandomRotation((1, 2, 3)),
        lambda: T.RandomAffine(3, (2, 2)), lambda: T.RandomAffine(3, None, (0, 1)), lambda: T.GaussianBlur(4),
        lambda: T.GaussianBlur(3, (3, 1)), lambda: T.RandomErasing(value="x"), lambda: T.RandomErasing(p=2),
        lambda: T.Lambda(3), lambda: F.to_tensor([1]), lambda: F.normalize(image.int(), [0], [1]),
        lambda: F.normalize(image, [0.0] * 3, [0.0] * 3), lambda: F.normalize(image[0], [0.0], [1.0]),
        lambda: F.adjust_hue(image, 1), lambda: F.posterize(image, 9), lambda: F.posterize(image, 3),
        lambda: F.five_crop(image, 9), lambda: F.rotate(image, "x"), lambda: F.resize(image, [1, 2, 3]),
        lambda: F.convert_image_dtype(image, torch.int64), lambda: F.perspective(image, [[0, 0]], [[0, 0]]),
        lambda: F.adjust_brightness(image, -1), lambda: F.to_pil_image(torch.rand(5, 2, 2)),
    ):  # fmt: skip
        see.error(call)
