"""Grad modes: as contexts, decorators, of generators and threads; inference tensors."""

import threading


def leaf(torch, *values):
    return torch.tensor(list(values) or [1.0, 2.0, 3.0], requires_grad=True)


def case_contexts(torch, see):
    x = leaf(torch)
    with torch.no_grad():
        y = x * 2
        see(torch.is_grad_enabled(), y, x.numpy().shape, x[0], x.view(3).requires_grad, x.detach().requires_grad)
        with torch.enable_grad():
            see((x * 2).requires_grad)
        see((x * 2).requires_grad)
    see(torch.is_grad_enabled())
    with torch.set_grad_enabled(False):
        see((x * 2).requires_grad)
    see(torch.is_grad_enabled())
    torch.set_grad_enabled(False)
    see(torch.is_grad_enabled())
    torch.set_grad_enabled(True)
    see(torch.is_grad_enabled())


def case_exceptions_restore(torch, see):
    def boom():
        with torch.no_grad():
            raise ValueError

    see.error(boom)
    see(torch.is_grad_enabled())


def case_decorators(torch, see):
    x = leaf(torch)

    @torch.no_grad()
    def f(v):
        """What f is for."""
        return v * 2

    @torch.no_grad
    def g(v):
        return v * 2

    @torch.enable_grad()
    def h(v):
        return v * 2

    @torch.set_grad_enabled(False)
    def k(v):
        return v * 2

    @torch.inference_mode()
    def m(v):
        return v * 2

    @torch.inference_mode
    def n(v):
        return v * 2

    see(
        f(x).requires_grad,
        g(x).requires_grad,
        h(x).requires_grad,
        k(x).requires_grad,
        m(x).requires_grad,
        n(x).is_inference(),
    )
    see(torch.is_grad_enabled(), f.__name__, f.__doc__)
    with torch.no_grad():
        see(h(x).requires_grad)


def case_recursive_decorated(torch, see):
    @torch.no_grad()
    def f(n):
        return [torch.is_grad_enabled()] + (f(n - 1) if n else [])

    see(f(3), torch.is_grad_enabled())


def case_generators(torch, see):
    log = []

    @torch.no_grad()
    def numbers():
        for i in range(3):
            log.append(torch.is_grad_enabled())
            got = yield i
            log.append(got)
        return "end"

    g = numbers()
    see(next(g), torch.is_grad_enabled())
    see(g.send("hello"), torch.is_grad_enabled())
    see(list(g), log)

    @torch.no_grad()
    def catching():
        try:
            yield 1
        except ValueError:
            yield torch.is_grad_enabled()

    g = catching()
    next(g)
    see(g.throw(ValueError()), torch.is_grad_enabled())
    g.close()


def case_reused_context(torch, see):
    mode = torch.no_grad()
    with mode:
        with torch.enable_grad():
            with mode:
                see(torch.is_grad_enabled())
    with mode:
        see(torch.is_grad_enabled())


def case_set_grad_enabled_argument(torch, see):
    see.error(lambda: torch.set_grad_enabled("no"))
    see(torch.is_grad_enabled())
    state = torch.set_grad_enabled(True)
    see(str(state))


def case_threads_have_their_own(torch, see):
    seen = {}
    x = leaf(torch)

    def work():
        seen["inside"] = torch.is_grad_enabled()
        seen["records"] = (x * 2).requires_grad
        torch.set_grad_enabled(False)
        seen["off"] = (x * 2).requires_grad

    with torch.no_grad():
        t = threading.Thread(target=work)
        t.start()
        t.join()
        seen["here"] = (x * 2).requires_grad
    see(seen, torch.is_grad_enabled(), (x * 2).requires_grad)


def case_threads_going_backward(torch, see):
    x = leaf(torch)
    errors = []

    def work():
        try:
            for _ in range(20):
                y = leaf(torch)
                (y * y).sum().backward()
                assert y.grad.tolist() == [2.0, 4.0, 6.0]
        except Exception as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    (x * x).sum().backward()
    see(errors, x.grad)


def case_inference(torch, see):
    x = leaf(torch)
    with torch.inference_mode():
        y = x * 2
        see(y.requires_grad, y.is_inference(), torch.is_inference_mode_enabled(), torch.is_grad_enabled())
        y.add_(1)
        z = torch.ones(3)
        see(z.is_inference(), x.is_inference(), x.view(3).is_inference())
        with torch.enable_grad():
            see((x * 2).requires_grad)
        with torch.inference_mode(False):
            see((x * 2).requires_grad, torch.ones(1).is_inference())
    see(torch.is_inference_mode_enabled(), torch.is_grad_enabled())
    see.error(lambda: y.add_(1), "inference")
    see.error(lambda: y._version)
    see.error(lambda: y.requires_grad_())
    see.error(lambda: (y * x).sum().backward(), "inference")
    see((y * 2).is_inference(), (y + x).requires_grad, y.view(3).is_inference())
    see.error(lambda: x.detach().copy_(y).is_inference() and 1 / 0)
    w = y.clone()
    w.add_(1)
    see(w.is_inference(), (w * x).requires_grad)
    with torch.no_grad():
        see.error(lambda: y.add_(1))
        see((y + 1).is_inference())


def case_in_place_under_no_grad(torch, see):
    x = leaf(torch)
    with torch.no_grad():
        x.add_(1)
        x[0] = 7
        x *= 2
    see(x, x._version)
    y = x * 2
    with torch.no_grad():
        y.mul_(0)
    y.sum().backward()
    see(x.grad, y)


def case_views_made_without_grad(torch, see):
    base = leaf(torch) * 1
    with torch.no_grad():
        v = base.view(3)
    see(v.requires_grad, v._is_view())
    see.error(lambda: v.add_(1))
    x = leaf(torch)
    with torch.no_grad():
        w = x.view(3)
        w.add_(1)
    see(x)
    see.error(lambda: x.view(3).add_(1))
    see(x)


def case_requires_grad_inside_no_grad(torch, see):
    with torch.no_grad():
        x = torch.ones(2, requires_grad=True)
        see(x.requires_grad, x.is_leaf)
        x = (x * 2).requires_grad_()
        see(x.is_leaf)
    (x * 2).sum().backward()
    see(x.grad)


def case_anomaly(torch, see):
    x = leaf(torch, -1.0, 0.0)
    see.warns(lambda: torch.autograd.detect_anomaly() and None)
    see(torch.is_anomaly_enabled())

    def nan():
        with torch.autograd.detect_anomaly():
            see(torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled())
            y = x.sqrt().sum()
            y.backward()

    see.error(nan, "Sqrt", "0th")
    see(torch.is_anomaly_enabled())
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        see(torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled())
        x.sqrt().sum().backward()
    see(torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled())
    torch.autograd.set_detect_anomaly(True)
    see(torch.is_anomaly_enabled())
    torch.autograd.set_detect_anomaly(False)
    see(torch.is_anomaly_enabled())
    see.error(lambda: torch.autograd.grad(torch.full((1,), float("nan")) * x[:1], x) and 1 / 0)


def case_profiler_is_importable(torch, see):
    with torch.autograd.profiler.record_function("step"):
        x = leaf(torch)
        (x * 2).sum().backward()
    see(x.grad)
    with torch.autograd.profiler.profile() as prof:
        (x * 2).sum().backward()
    see(isinstance(prof.key_averages().table(sort_by="cpu_time_total"), str))
    with (
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as prof,
        torch.profiler.record_function("f"),
    ):
        x * 2
        prof.step()
    see(isinstance(prof.key_averages().table(), str))
