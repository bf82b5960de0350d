"""Pruning, fusion, memory formats and the orthogonal parametrization, without an oracle."""

import pytest

import flambeau as torch

nn, prune = torch.nn, torch.nn.utils.prune


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def test_pruned_elements_stay_zero_through_training():
    layer = linear()
    assert prune.l1_unstructured(layer, "weight", amount=0.5) is layer
    gone = layer.weight_mask == 0
    assert gone.sum() == 6
    assert (layer.weight_orig.abs()[gone].max() <= layer.weight_orig.abs()[~gone].min()).item()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.ones(2, 4)).pow(2).sum().backward()
        optimizer.step()
    layer(torch.ones(2, 4))
    assert (layer.weight[gone] == 0).all() and set(dict(layer.named_parameters())) == {"weight_orig", "bias"}
    assert prune.is_pruned(nn.Sequential(layer))
    prune.remove(layer, "weight")
    assert not prune.is_pruned(layer) and (layer.weight[gone] == 0).all() and isinstance(layer.weight, nn.Parameter)
    assert set(layer.state_dict()) == {"weight", "bias"}


def test_pruning_again_prunes_what_is_left():
    layer = linear()
    prune.random_unstructured(layer, "weight", amount=3)
    before = layer.weight_mask.clone()
    prune.l1_unstructured(layer, "weight", amount=3)
    assert layer.weight_mask.sum() == 6 and (layer.weight_mask <= before).all()
    (hook,) = layer._forward_pre_hooks.values()
    assert isinstance(hook, prune.PruningContainer) and len(hook) == 2
    prune.ln_structured(layer, "weight", amount=1, n=2, dim=0)
    assert len(hook) == 2 and (layer.weight_mask.sum(1) == 0).any()


def test_whole_networks_and_masks():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    pairs = [(model[0], "weight"), (model[2], "weight")]
    prune.global_unstructured(pairs, prune.L1Unstructured, amount=12)
    masks = torch.cat([m.weight_mask.reshape(-1) for m, _ in pairs])
    values = torch.cat([m.weight_orig.reshape(-1) for m, _ in pairs]).abs()
    assert (masks == 0).sum() == 12 and values[masks == 0].max() <= values[masks == 1].min()
    prune.custom_from_mask(model[0], "bias", torch.tensor([1.0, 0, 1, 0, 1, 0, 1, 0]))
    prune.identity(model[2], "bias")
    assert (model[0].bias[1::2] == 0).all() and (model[2].bias_mask == 1).all()


def test_a_failed_call_changes_nothing():
    layer = linear()
    weight = layer.weight
    with pytest.raises(ValueError):
        prune.l1_unstructured(layer, "weight", amount=20)
    with pytest.raises(IndexError):
        prune.random_structured(layer, "weight", amount=1, dim=5)
    with pytest.raises(ValueError):
        prune.ln_structured(layer, "bias", amount=1, n=2, dim=0)
    assert layer.weight is weight and list(layer._parameters) == ["weight", "bias"] and not layer._forward_pre_hooks
    for amount, error in ((1.5, ValueError), (-1, ValueError), ("a", TypeError)):
        with pytest.raises(error):
            prune.L1Unstructured(amount)
    with pytest.raises(ValueError):
        prune.remove(layer, "weight")
    with pytest.raises(TypeError):
        prune.global_unstructured([(layer, "weight")], prune.LnStructured, amount=1, n=2)


@pytest.mark.parametrize("bias", [True, False])
def test_fused_layers_do_what_both_did(bias):
    torch.manual_seed(0)
    for conv, bn, x, transpose in (
        (nn.Conv2d(2, 3, 3, bias=bias), nn.BatchNorm2d(3), torch.randn(2, 2, 5, 5), False),
        (nn.ConvTranspose2d(2, 3, 3, bias=bias), nn.BatchNorm2d(3), torch.randn(2, 2, 5, 5), True),
        (nn.Conv1d(2, 3, 3, bias=bias), nn.BatchNorm1d(3, affine=False), torch.randn(2, 2, 5), False),
    ):
        bn.running_mean.normal_(), bn.running_var.uniform_(0.5, 2)
        conv.eval(), bn.eval()
        fused = nn.utils.fuse_conv_bn_eval(conv, bn, transpose)
        torch.testing.assert_close(fused(x), bn(conv(x)), rtol=1e-4, atol=1e-5)
    linear, bn = nn.Linear(4, 3, bias=bias).eval(), nn.BatchNorm1d(3).eval()
    bn.running_mean.normal_(), bn.running_var.uniform_(0.5, 2)
    x = torch.randn(5, 4)
    torch.testing.assert_close(nn.utils.fuse_linear_bn_eval(linear, bn)(x), bn(linear(x)), rtol=1e-4, atol=1e-5)
    with pytest.raises(AssertionError):
        nn.utils.fuse_linear_bn_eval(linear.train(), bn)


def test_memory_formats_of_weights():
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Conv3d(3, 4, 2))
    x = torch.randn(1, 3, 4, 4)
    before = model[0](x)
    assert nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last) is model
    torch.testing.assert_close(model[0](x), before)
    assert nn.utils.convert_conv3d_weight_memory_format(model, torch.channels_last_3d) is model


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 4, 3)])
@pytest.mark.parametrize("map", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("trivial", [True, False])
def test_orthogonal(shape, map, trivial):
    torch.manual_seed(0)
    module = nn.Module()
    module.weight = nn.Parameter(torch.randn(*shape, dtype=torch.float64))
    assert nn.utils.parametrizations.orthogonal(module, "weight", map, use_trivialization=trivial) is module

    def check():
        w = module.weight if shape[-2] >= shape[-1] else module.weight.mT
        one = torch.eye(min(shape[-2:]), dtype=torch.float64).expand(*shape[:-2], -1, -1)
        torch.testing.assert_close(w.mT @ w, one, rtol=1e-8, atol=1e-8)

    check()
    target = torch.randn(*shape, dtype=torch.float64)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = (module.weight - target).pow(2).sum()
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        check()
    assert losses[-1] < losses[0]
    if not trivial and map != "householder":
        with pytest.raises(NotImplementedError):
            module.weight = target
        return
    tall = target if shape[-2] >= shape[-1] else target.mT
    new = torch.linalg.qr(tall)[0]
    new = new if shape[-2] >= shape[-1] else new.mT
    module.weight = new
    torch.testing.assert_close(module.weight, new, rtol=1e-7, atol=1e-7)


def test_orthogonal_refusals():
    for make, error in (
        (lambda: nn.utils.parametrizations.orthogonal(nn.Linear(3, 3), "no"), ValueError),
        (lambda: nn.utils.parametrizations.orthogonal(nn.Linear(3, 3), "bias"), ValueError),
        (lambda: nn.utils.parametrizations.orthogonal(nn.Linear(3, 3), orthogonal_map="other"), ValueError),
    ):
        with pytest.raises(error):
            make()


def test_parametrizations_can_be_transferred():
    torch.manual_seed(0)
    source, target = nn.Linear(3, 3), nn.Linear(3, 3)
    nn.utils.parametrizations.spectral_norm(source)
    nn.utils.parametrize.transfer_parametrizations_and_params(source, target)
    source.eval(), target.eval()
    assert target.parametrizations.weight.original is source.parametrizations.weight.original
    assert torch.equal(source.weight, target.weight)
    assert nn.utils.parametrize.transfer_parametrizations_and_params(nn.Linear(2, 2), target) is target
