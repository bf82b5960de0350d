"""Autocasting and gradient scaling, without an oracle."""

import inspect
import pickle
import threading

import pytest

import flambeau as torch

F = torch.nn.functional


def test_contexts_nest_and_leave_nothing_behind():
    x = torch.ones(2, 2)
    signature = inspect.signature(F.conv2d)
    with torch.autocast("cpu"):
        assert torch.is_autocast_enabled("cpu")
        assert (x @ x).dtype == torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            assert (x @ x).dtype == torch.float32
            assert F.conv2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1)).dtype == torch.float32
        with torch.autocast("cpu", dtype=torch.float16):
            assert (x @ x).dtype == F.linear(x, x).dtype == torch.float16
        assert F.conv2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1)).dtype == torch.bfloat16
    assert not torch.is_autocast_enabled("cpu") and (x @ x).dtype == torch.float32
    assert F.conv2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1)).dtype == torch.float32
    assert inspect.signature(F.conv2d) == signature
    with pytest.raises(ZeroDivisionError), torch.autocast("cpu"):
        1 / 0
    assert (x @ x).dtype == torch.float32


def test_a_parameter_is_cast_once_per_context():
    w = torch.nn.Parameter(torch.ones(2, 2))
    with torch.autocast("cpu"):
        a, b = w @ w, F.linear(w, w)
        edges = {fn for out in (a, b) for fn, _ in out.grad_fn.next_functions if fn is not None}
        assert len(edges) == 1
    with torch.autocast("cpu", cache_enabled=False):
        a = w @ w
        assert len({id(fn) for fn, _ in a.grad_fn.next_functions}) == 2
    with torch.autocast("cpu"):
        with torch.no_grad():
            w @ w
        assert (w @ w).requires_grad


def test_gradients_come_in_the_parameter_s_dtype():
    w = torch.nn.Parameter(torch.full((3, 3), 0.5))
    with torch.autocast("cpu"):
        loss = F.mse_loss(F.linear(torch.ones(2, 3), w), torch.zeros(2, 3))
    assert loss.dtype == torch.float32
    loss.backward()
    assert w.grad.dtype == torch.float32
    torch.testing.assert_close(w.grad, torch.full((3, 3), 1.0))


def test_threads_are_on_their_own():
    seen = []
    x = torch.ones(2, 2)
    with torch.autocast("cpu"):
        thread = threading.Thread(target=lambda: seen.append((x @ x).dtype))
        thread.start()
        thread.join()
        assert (x @ x).dtype == torch.bfloat16
    assert seen == [torch.float32]


def test_decorator_and_state_functions():
    @torch.autocast("cpu", dtype=torch.float16)
    def product(x):
        return x @ x

    assert product(torch.ones(2, 2)).dtype == torch.float16
    assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    torch.set_autocast_dtype("cpu", torch.float16)
    torch.set_autocast_enabled("cpu", True)
    try:
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float16
    finally:
        torch.set_autocast_enabled("cpu", False)
        torch.set_autocast_dtype("cpu", torch.bfloat16)
    with pytest.warns(UserWarning, match="float16"), torch.autocast("cpu", dtype=torch.float64):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_custom_functions_go_along():
    seen = []

    class Square(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
        def forward(ctx, x):
            seen.append((x.dtype, torch.is_autocast_enabled("cpu")))
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            seen.append(torch.is_autocast_enabled("cpu"))
            return 2 * ctx.saved_tensors[0] * g

    class Product(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu")
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x @ x

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            seen.append((ctx.saved_tensors[0] @ g).dtype)
            return g.float()

    x = torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu"):
        y = Square.apply(x)
        z = Product.apply(torch.ones(2, 2, requires_grad=True))
    y.sum().backward()
    z.sum().backward()
    assert y.dtype == torch.float32 and z.dtype == torch.bfloat16
    assert seen == [(torch.float32, False), False, torch.bfloat16]


def test_inference_and_anomaly_modes():
    x = torch.ones(2, 2)
    with torch.autocast("cpu"), torch.inference_mode():
        assert (x @ x).dtype == torch.bfloat16
    with torch.autograd.detect_anomaly(check_nan=False), torch.autocast("cpu"):
        assert (x @ x).dtype == torch.bfloat16
    assert (x @ x).dtype == torch.float32


def test_a_bad_step_is_skipped_and_the_scale_shrinks():
    w = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.Adam([w])
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    scaler.scale((w * float("inf")).sum()).backward()
    assert scaler.step(optimizer) is None and w.item() == 1.0
    scaler.update()
    assert scaler.get_scale() == 2.0
    optimizer.zero_grad()
    scaler.scale(w.sum()).backward()
    assert w.grad.item() == 2.0
    scaler.unscale_(optimizer)
    assert w.grad.item() == 1.0
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 4.0 and w.item() < 1.0
    scaler._set_scale(16.0)
    assert scaler.get_scale() == 16.0
    again = pickle.loads(pickle.dumps(scaler))
    assert again.state_dict() == scaler.state_dict()


def test_structures_are_scaled():
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    one, (two, three) = scaler.scale((torch.ones(1), [torch.ones(1), torch.ones(1)]))
    assert one.item() == two.item() == three.item() == 2.0


def test_float16_gradients_are_refused():
    w = torch.nn.Parameter(torch.ones(1, dtype=torch.float16))
    optimizer = torch.optim.SGD([w], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(w.sum().float()).backward()
    with pytest.raises(ValueError, match="float16"):
        scaler.unscale_(optimizer)


def test_older_names():
    with torch.cpu.amp.autocast():
        assert torch.is_autocast_cpu_enabled()
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.get_autocast_cpu_dtype() == torch.bfloat16
    assert not torch.is_autocast_cpu_enabled()
    assert torch.cpu.amp.GradScaler(init_scale=8.0).get_scale() == 8.0
    assert torch.cpu.is_available() and torch.cpu.device_count() == 1
    torch.cpu.synchronize()
