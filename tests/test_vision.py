"""`flambeau.vision`: what torchvision sees (recorded), data sets on disk, weights on disk, life without Pillow."""

import gzip
import os
import pickle
import struct

import numpy as np
import pytest

import flambeau as torch
from flambeau import vision
from flambeau.utils import png
from flambeau.vision import datasets, models, ops, pictures, transforms, utils
from flambeau.vision import io as files
from tests import sides
from tests.vision_cases import photograph, rest

CASES = sides.collect("tests.vision_cases")
SLOW = ("rest.large_models",)


@pytest.fixture(scope="module")
def recorded():
    return sides.recorded("vision")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in sorted(CASES)]
)  # fmt: skip
def test_as_torchvision(name, recorded):
    if "pillow" in name or name == "rest.noise":
        pytest.importorskip("PIL")
    difference = sides.equal(sides.run(CASES[name], torch), recorded[name], tolerance=2e-4)
    assert difference is None, difference


def test_recorded_models_are_all_there():
    assert set(rest.QUICK + rest.LARGE) <= set(models.list_models())


@pytest.fixture
def without_pillow(monkeypatch):
    monkeypatch.setattr(pictures, "has_pillow", lambda: False)
    monkeypatch.setattr("flambeau.vision.utils.has_pillow", lambda: False)
    monkeypatch.setattr("flambeau.vision.io.has_pillow", lambda: False)


# --- data sets ---------------------------------------------------------------------------------------------------


def idx(array):
    kind = {"uint8": 8, "int32": 12}[str(array.dtype)]
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(
        array.dtype.newbyteorder(">")).tobytes()  # fmt: skip


@pytest.fixture
def digits(tmp_path):
    """Files as MNIST's: 7 and 3 images; those for training are compressed."""
    images = np.arange(10 * 28 * 28).reshape(10, 28, 28).astype(np.uint8)
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, chosen in (("train", slice(0, 7)), ("t10k", slice(7, 10))):
        for name, array in ((f"{part}-images-idx3-ubyte", images[chosen]),
                            (f"{part}-labels-idx1-ubyte", np.arange(10, dtype=np.uint8)[chosen])):  # fmt: skip
            if part == "train":
                (folder / (name + ".gz")).write_bytes(gzip.compress(idx(array)))
            else:
                (folder / name).write_bytes(idx(array))
    return tmp_path, images


def test_digits_are_read_from_plain_and_compressed_files(digits, without_pillow):
    root, images = digits
    train = datasets.MNIST(root, download=True)
    test = datasets.MNIST(str(root), train=False, transform=transforms.ToTensor(), target_transform=lambda y: -y)
    assert len(train) == 7 and train.data.dtype == torch.uint8 and train.targets.tolist() == list(range(7))
    image, label = train[3]
    assert np.array_equal(np.asarray(image), images[3]) and label == 3 and image.size == (28, 28)
    assert test[2][0].shape == (1, 28, 28) and test[2][1] == -9
    assert torch.equal(test[0][0][0] * 255, torch.tensor(images[7]).float())
    assert str(train).splitlines()[:2] == ["Dataset MNIST", "    Number of datapoints: 7"]
    assert train.class_to_idx["2 - two"] == 2
    batch, labels = next(iter(torch.utils.data.DataLoader(test, batch_size=3)))
    assert batch.shape == (3, 1, 28, 28) and labels.tolist() == [-7, -8, -9]


def test_absent_files_are_named_with_their_place(tmp_path):
    for make, words in (
        (lambda: datasets.MNIST(tmp_path, download=True), ["train-images-idx3-ubyte.gz", "MNIST/raw", "download"]),
        (lambda: datasets.FashionMNIST(tmp_path, train=False), ["t10k-labels-idx1-ubyte.gz", "FashionMNIST/raw"]),
        (lambda: datasets.EMNIST(tmp_path, "letters"), ["emnist-letters-train-images-idx3-ubyte.gz"]),
        (lambda: datasets.QMNIST(tmp_path, "test10k"), ["qmnist-test-labels-idx2-int.gz"]),
        (lambda: datasets.CIFAR10(tmp_path), ["data_batch_1", "cifar-10-batches-py"]),
        (lambda: datasets.SVHN(tmp_path), ["train_32x32.mat"]),
        (lambda: datasets.STL10(tmp_path), ["train_X.bin"]),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="Dataset not found") as caught:
            make()
        assert all(word in str(caught.value) for word in [*words, str(tmp_path)]), caught.value
    with pytest.raises(ValueError, match="split"):
        datasets.EMNIST(tmp_path, "nothing")


@pytest.mark.parametrize("damage", [b"", b"PK\3\4 something else", None])
def test_damaged_digits_are_refused(digits, damage):
    root, images = digits
    path = root / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    with pytest.raises(ValueError, match="IDX|damaged"):
        datasets.MNIST(root, train=False)


@pytest.fixture
def photographs(tmp_path):
    """Files as CIFAR-10's, with two images each."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k, name in enumerate([f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]):
        batch = {"data": rng.integers(0, 256, (2, 3072)).astype(np.uint8), "labels": [k, 9 - k]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}, protocol=2))
    return tmp_path


def test_photographs_are_read_from_the_folder_and_from_the_archive(photographs, without_pillow):
    import tarfile

    data = datasets.CIFAR10(photographs, transform=transforms.ToTensor())
    assert data.data.shape == (10, 32, 32, 3) and data.targets == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert data.classes == list("abcdefghij") and data[4][0].shape == (3, 32, 32)
    with tarfile.open(photographs / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(photographs / "cifar-10-batches-py", "cifar-10-batches-py")
    (photographs / "cifar-10-batches-py" / "test_batch").unlink()
    test = datasets.CIFAR10(photographs, train=False)
    assert len(test) == 2 and test.targets == [5, 4]


def test_a_batch_that_would_run_code_is_refused(photographs, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = photographs / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(pickle.dumps({"data": Evil(), "labels": []}, protocol=2))
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        datasets.CIFAR10(photographs)
    assert not (tmp_path / "ran").exists()


def test_folders_of_images(tmp_path, without_pillow):
    for name, count in (("owl", 2), ("cat", 3)):
        (tmp_path / name / "deep").mkdir(parents=True)
        for i in range(count):
            folder = tmp_path / name / ("deep" if i == 0 else "")
            (folder / f"{i}.png").write_bytes(png.encode(photograph()[: 10 + i]))
        (tmp_path / name / "notes.txt").write_text("no image")
    data = datasets.ImageFolder(tmp_path, transforms.ToTensor())
    assert data.classes == ["cat", "owl"] and data.targets == [0, 0, 0, 1, 1]
    assert [os.path.relpath(p, tmp_path) for p, _ in data.imgs[:3]] == ["cat/1.png", "cat/2.png", "cat/deep/0.png"]
    assert torch.equal(data[0][0] * 255, torch.tensor(photograph()[:11]).permute(2, 0, 1).float())
    texts = datasets.DatasetFolder(tmp_path, lambda p: open(p).read(), extensions=(".txt",))
    assert texts[1] == ("no image", 1)
    with pytest.raises(FileNotFoundError, match="owl"):
        datasets.ImageFolder(tmp_path, is_valid_file=lambda path: "cat" in path)
    with pytest.raises(FileNotFoundError, match="folders"):
        datasets.ImageFolder(tmp_path / "owl" / "deep")


# --- images ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_png_files_go_and_come_back(bands, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (9, 7, bands)).astype(np.uint8)
    assert np.array_equal(png.decode(png.encode(array)), array)
    damaged = bytearray(png.encode(array))
    damaged[45] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        png.decode(bytes(damaged))


def test_png_files_are_those_that_pillow_writes_and_reads(tmp_path):
    image = pytest.importorskip("PIL.Image")
    smooth = np.add.outer(np.arange(40), np.arange(30))[..., None] * np.array([1, 2, 3])
    for array in (photograph(), smooth.astype(np.uint8)):  # the second makes Pillow choose among the filters
        image.fromarray(array).save(tmp_path / "a.png")
        assert np.array_equal(png.decode((tmp_path / "a.png").read_bytes()), array)
        (tmp_path / "b.png").write_bytes(png.encode(array))
        assert np.array_equal(np.asarray(image.open(tmp_path / "b.png")), array)


def test_images_are_saved_without_pillow(tmp_path, without_pillow):
    utils.save_image(torch.rand(5, 1, 4, 4), tmp_path / "grid.png", nrow=3)
    assert files.read_image(tmp_path / "grid.png").shape == (3, 14, 20)
    with pytest.raises(ImportError, match="Pillow"):
        utils.save_image(torch.rand(5, 1, 4, 4), tmp_path / "grid.jpg")


def test_transforms_without_pillow(without_pillow):
    image = pictures.picture(photograph(), "RGB")
    assert isinstance(image, pictures.ArrayImage)
    chain = transforms.Compose([
        transforms.Resize(24), transforms.RandomCrop(20, padding=2), transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.2, 0.2, 0.2, 0.1), transforms.RandomRotation(10), transforms.Grayscale(3),
        transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,)),
    ])  # fmt: skip
    torch.manual_seed(3)
    mine = chain(image)
    torch.manual_seed(3)
    assert torch.allclose(mine, chain(transforms.ToPILImage()(photograph())))
    grey = image.convert("L")
    assert grey.mode == "L" and transforms.ToTensor()(grey).shape == (1, 40, 52)
    assert np.array_equal(np.asarray(transforms.CenterCrop(10)(grey)), np.asarray(grey)[15:25, 21:31])


def test_luma_is_pillows():
    image = pytest.importorskip("PIL.Image")
    mine = pictures.ArrayImage(photograph(), "RGB").convert("L")
    assert np.array_equal(np.asarray(mine), np.asarray(image.fromarray(photograph()).convert("L")))


def test_files_as_tensors(tmp_path):
    pytest.importorskip("PIL")
    image = torch.from_numpy(photograph()).permute(2, 0, 1)
    files.write_png(image, tmp_path / "a.png")
    assert torch.equal(files.read_image(tmp_path / "a.png"), image)
    assert files.read_image(tmp_path / "a.png", files.ImageReadMode.GRAY).shape == (1, 40, 52)
    files.write_jpeg(image, tmp_path / "a.jpg", 95)
    assert (files.decode_image(files.read_file(tmp_path / "a.jpg")).float() - image).abs().mean() < 20
    with pytest.raises(RuntimeError, match="no image"):
        files.decode_image(torch.zeros(9, dtype=torch.uint8))


# --- boxes, models -------------------------------------------------------------------------------------------------


def test_suppression_of_boxes():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 9, 10], [20, 20, 30, 29]])
    scores = torch.tensor([0.5, 0.9, 0.3, 0.8, 0.4])
    assert ops.nms(boxes, scores, 0.5).tolist() == [1, 4]
    assert ops.nms(boxes, scores, 0.7).tolist() == [1, 3, 4]
    assert ops.nms(boxes, scores, 1.0).tolist() == [1, 3, 0, 4, 2]
    assert ops.batched_nms(boxes, scores, torch.tensor([0, 1, 0, 1, 1]), 0.5).tolist() == [1, 0, 4, 2]
    assert ops.nms(boxes[:0], scores[:0], 0.5).tolist() == []
    with pytest.raises(RuntimeError, match="boxes"):
        ops.nms(boxes, scores[:2], 0.5)


def test_weights_lie_on_disk_or_the_error_says_where(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    kinds = models.SqueezeNet1_1_Weights
    for weights in (kinds.DEFAULT, kinds.IMAGENET1K_V1, "DEFAULT", "SqueezeNet1_1_Weights.IMAGENET1K_V1"):
        with pytest.raises(RuntimeError, match=r"squeezenet1_1-b8a52dc0.pth.*network") as caught:
            models.squeezenet1_1(weights=weights)
        assert str(place) in str(caught.value)
    place.parent.mkdir(parents=True)
    torch.manual_seed(5)
    torch.save(models.squeezenet1_1().state_dict(), place)
    with pytest.warns(UserWarning, match="pretrained"):
        loaded = models.squeezenet1_1(pretrained=True)
    torch.manual_seed(5)
    assert torch.equal(loaded.classifier[1].weight, models.squeezenet1_1().classifier[1].weight)
    with pytest.raises(ValueError, match="1000"):
        models.squeezenet1_1(weights="DEFAULT", num_classes=3)
    with pytest.raises(ValueError, match="no weights"):
        models.squeezenet1_1(weights="nothing")
    with pytest.raises(TypeError, match="SqueezeNet1_1_Weights"):
        models.squeezenet1_1(weights=models.ResNet18_Weights.DEFAULT)
    prepare = kinds.DEFAULT.transforms()
    assert prepare(torch.zeros(3, 300, 260, dtype=torch.uint8)).shape == (3, 224, 224)
    assert models.get_weight("ResNet50_Weights.IMAGENET1K_V2") is models.ResNet50_Weights.DEFAULT
    assert models.get_model("resnet18", num_classes=2).fc.out_features == 2
    with pytest.raises(ValueError, match="no model"):
        models.get_model("resnet17")


def test_memory_of_the_residual_blocks_is_trained():
    torch.manual_seed(0)
    net = models.resnet18(num_classes=3, zero_init_residual=True)
    net.layer4 = torch.nn.Identity()
    net.fc = torch.nn.Linear(256, 3)
    loss = net(torch.randn(2, 3, 32, 32)).logsumexp(1).sum()
    loss.backward()
    assert all(p.grad is not None for p in net.parameters())
    features = models._common.IntermediateLayerGetter(net, {"layer1": "low", "layer3": "high"})
    assert [tuple(v.shape) for v in features(torch.zeros(1, 3, 32, 32)).values()] == [(1, 64, 8, 8), (1, 256, 2, 2)]


def test_the_package_answers_as_torchvision():
    assert vision.get_image_backend() == "PIL" and vision.__version__.startswith("0.")
    with pytest.raises(ValueError, match="PIL"):
        vision.set_image_backend("accimage")


def test_modules_have_torchvisions_places(tmp_path):
    from flambeau.vision.datasets import utils as help
    from flambeau.vision.datasets.mnist import read_label_file
    from flambeau.vision.models import _utils, mobilenetv2, mobilenetv3, shufflenetv2
    from flambeau.vision.models.resnet import ResNet18_Weights
    from flambeau.vision.ops import misc

    assert ResNet18_Weights is models.ResNet18_Weights and _utils._make_divisible(31 * 1.1, 8) == 32
    assert mobilenetv2.mobilenet_v2 is models.mobilenet_v2 and mobilenetv3.MobileNetV3 is models.MobileNetV3
    assert shufflenetv2.ShuffleNetV2 is models.ShuffleNetV2 and misc.MLP is ops.MLP
    (tmp_path / "labels").write_bytes(idx(np.arange(3, dtype=np.uint8)))
    assert read_label_file(str(tmp_path / "labels")).tolist() == [0, 1, 2]
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"text"))
    md5 = help.calculate_md5(tmp_path / "a.gz")
    help.download_and_extract_archive("https://there/a.gz", tmp_path, tmp_path / "a", md5=md5)
    assert (tmp_path / "a").read_bytes() == b"text" and not help.check_integrity(tmp_path / "a", md5)
    with pytest.raises(RuntimeError, match="place it at"):
        help.download_url("https://there/b.gz", tmp_path)
    with pytest.raises(RuntimeError, match="no tar"):
        help.extract_archive(tmp_path / "labels")
    with pytest.raises(ValueError, match="one of"):
        help.verify_str_arg("x", "split", ("train", "test"))
