"""Rows of recurrent layers, attention and embeddings."""

from tests.op_rows.tools import Fixed, call, row

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
OPS = {"lstm": "lstm_layer", "gru": "gru_layer", "rnn_tanh": "rnn_layer", "rnn_relu": "rnn_layer"}


def weights(s, gates, width, hidden, layers=1, directions=1, biases=True, proj=0):
    found = []
    for n in range(layers * directions):
        out = proj or hidden
        found += [s.real(gates * hidden, width if n < directions else out * directions) * 0.4]
        found += [s.real(gates * hidden, out) * 0.4]
        found += [s.real(gates * hidden) * 0.4 for _ in range(2)] if biases else []
        found += [s.real(proj, hidden) * 0.4] if proj else []
    return found


def recurrent(name):
    def samples(s):
        gates = GATES[name]

        def states(layers, batch, hidden, out=None):
            first = s.real(layers, batch, out or hidden)
            return (first, s.real(layers, batch, hidden)) if name == "lstm" else first

        tail = (0.0, False, False, False)
        yield call(s.real(3, 1, 2), states(1, 1, 1), weights(s, gates, 2, 1), True, 1, *tail)
        yield call(
            s.real(2, 3, 2), states(1, 2, 2), weights(s, gates, 2, 2, biases=False), False, 1, 0.0, False, False, True
        )
        yield call(s.real(3, 2, 2), states(4, 2, 3), weights(s, gates, 2, 3, 2, 2), True, 2, 0.0, False, True, False)
        yield call(s.real(2, 2, 140), states(1, 2, 3), weights(s, gates, 140, 3), True, 1, *tail)
        sizes = s.ints(0, 1, 4) + [3, 2, 2, 1]
        yield call(s.real(8, 2), sizes, states(4, 3, 2), weights(s, gates, 2, 2, 2, 2), True, 2, 0.0, False, True)
        if name == "lstm":
            yield call(s.real(3, 2, 2), states(1, 2, 3, 2), weights(s, 4, 2, 3, proj=2), True, 1, *tail)

    row(name, samples, ops=f"{OPS[name]} spread_rows take_rows", method=False, grad_fn=False, rtol=1e-8)


def cell(name):
    def samples(s):
        states = s.real(1, 2)
        hx = (states, s.real(1, 2)) if name == "lstm" else states
        yield call(s.real(1, 1), hx, *weights(s, GATES[name], 1, 2))

    row(name + "_cell", samples, ops=OPS[name], method=False, grad_fn=False, rtol=1e-8)


for _name in GATES:
    recurrent(_name)
    cell(_name)

F = "nn.functional."


@lambda f: row(F + "scaled_dot_product_attention", f, ops="attention", method=False, grad_fn=False, rtol=1e-8)
def _(s):
    yield call(s.real(1, 1, 2, 2), s.real(1, 1, 3, 2), s.real(1, 1, 3, 1))
    yield call(s.real(2, 3, 4), s.real(2, 5, 4), s.real(2, 5, 4), s.bools(4, 3, 5)[:1] | (s.ints(0, 1, 3, 5) == 0))
    yield call(s.real(1, 2, 3, 2), s.real(1, 2, 3, 2), s.real(1, 2, 3, 2), is_causal=True)
    yield call(s.real(2, 2, 3, 4), s.real(2, 2, 5, 4), s.real(2, 2, 5, 3), Fixed(s.real(2, 1, 3, 5)), scale=0.3)
    yield call(s.real(2, 4, 3, 2), s.real(2, 2, 3, 2), s.real(2, 2, 3, 2), enable_gqa=True)
    yield call(s.real(2, 2, 200, 4) * 20, s.real(2, 2, 200, 4) * 20, s.real(2, 2, 200, 3), is_causal=True)


def heads(lib, *args, **kwargs):
    return [t for t in lib.nn.functional.multi_head_attention_forward(*args, **kwargs) if t is not None]


@lambda f: row(F + "multi_head_attention_forward", f, heads, ops="attention", method=False, grad_fn=False, rtol=1e-8)
def _(s):
    q, projections = s.real(3, 2, 4), [s.real(12, 4), s.real(12), None, None, False, 0.0, s.real(4, 4), s.real(4)]
    for need in (True, False):
        yield call(q, s.real(5, 2, 4), s.real(5, 2, 4), 4, 2, *projections, need_weights=need)


# what `padding_idx` and `scale_grad_by_freq` do to gradients is not a derivative: tests/test_attention.py holds it
@lambda f: row(F + "embedding", f, ops="embedding embedding_dense_backward picked_rows", dtypes="dfh", method=False)
def _(s):
    yield call(s.ints(0, 4, 2, 3), s.real(4, 2))
    yield call(s.ints(0, 3000, 900), s.real(3000, 2))
    yield call(s.ints(0, 4, 0), s.real(4, 2))


for _mode in ("sum", "mean", "max"):

    @lambda f, mode=_mode: row(
        F + "embedding_bag " + mode,
        f,
        lambda lib, *args, **kwargs: lib.nn.functional.embedding_bag(*args, **kwargs, mode=mode),
        ops="embedding embedding_dense_backward" if mode != "max" else "embedding",
        dtypes="df",
        method=False,
        grad_fn=False,
    )
    def _(s):
        yield call(s.ints(0, 4, 2, 3), s.real(4, 2))
        yield call(s.ints(0, 4, 7), s.real(4, 2), s.ints(0, 1, 4) + [0, 3, 3, 5])
        yield call(s.ints(0, 4, 7), s.real(4, 2), s.ints(0, 1, 3) + [0, 3, 7], include_last_offset=True)
