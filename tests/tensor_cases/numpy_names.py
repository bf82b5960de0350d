"""NumPy's names for parameters: `axis` for `dim`, `keepdims` for `keepdim`."""

PAIRS = ["max", "min", "median", "nanmedian"]
REDUCTIONS = "sum mean std var prod argmax argmin all any amax amin logsumexp nansum nanmean".split() + PAIRS
OTHERS = "cumsum cumprod softmax log_softmax sort argsort unbind squeeze unsqueeze cummax diff chunk topk".split()


def case_axis(torch, see):
    x = torch.arange(6.0).view(2, 3)
    for name in REDUCTIONS:
        result = getattr(torch, name)(x, axis=1, keepdims=True)
        see(name, tuple(result) if name in PAIRS else result)
        result = getattr(x, name)(axis=0)
        see(tuple(result) if isinstance(result, tuple) else result)
    for name in OTHERS:
        rest = {"chunk": (2,), "topk": (1,)}.get(name, ())
        for result in (getattr(torch, name)(x, *rest, axis=1), getattr(x, name)(*rest, axis=0)):
            see(tuple(result) if isinstance(result, tuple) else result)
    see(torch.stack([x, x], axis=1).shape, torch.cat([x, x], axis=1).shape)
    index = torch.tensor([0, 1])
    see(torch.index_select(x, axis=1, index=index), torch.gather(x, axis=1, index=index.view(2, 1)))
    see(torch.select(x, axis=0, index=1), torch.narrow(x, axis=1, start=0, length=2), x.clone().squeeze_(axis=0))


def case_missing_arguments(torch, see):
    x = torch.ones(2, 3)
    see.error(lambda: torch.cumsum(x))
    see.error(lambda: torch.gather(x, 0))
    see.error(lambda: torch.softmax(x))
    see.error(lambda: torch.sum(x, axes=1))
    see.error(lambda: torch.unsqueeze(x))
