"""Plans: ways of calling compiled functions, and what they leave behind."""

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.errors import CaptureError
from tests.compile_calls import CALLS, Place, found_by, same, x


@pytest.mark.parametrize("program", CALLS)
def test_calls_give_what_they_give_uncompiled(program):
    same(found_by(program), found_by(program, torch.compile), 1e-5)


def test_results_that_can_not_be_made_anew_are_refused():
    def held(x):
        place = Place()
        place.x = x * 2
        return place

    for step in (held, lambda x: (v * 2 for v in (x, x))):
        compiled = torch.compile(step)
        compiled(x(0))
        with pytest.raises(CaptureError, match="can't return a"):
            compiled(x(0))


def test_filling_a_container_that_is_given_is_refused():
    @torch.compile
    def step(batch):
        batch["twice"] = batch["x"] * 2
        return batch["x"].sum()

    step({"x": x(0)})
    with pytest.raises(CaptureError, match="list, dict or dataclass that it is given"):
        step({"x": x(0)})


def test_values_that_numpy_computes_are_noticed():
    step = torch.compile(lambda x: torch.from_numpy(np.asarray(x.numpy()) * 2 + 1))
    with pytest.raises(CaptureError, match="where the capture can't see it"):
        for i in range(4):
            step(x(i))


@pytest.mark.parametrize("what", ["default", "own"])
def test_seeding_within_a_step(what):
    def step(x):
        if what == "default":
            torch.manual_seed(5)
            return x + torch.rand(3)
        return x + torch.rand(3, generator=torch.Generator().manual_seed(4))

    compiled = torch.compile(step)
    for i in range(6):
        assert torch.equal(compiled(x(i)), step(x(i)))


def test_a_value_that_never_comes_back_is_said_once():
    place = Place()
    step = torch.compile(lambda x: x * place.k)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(60):
            place.k = float(i)
            assert step(x(0)).tolist() == [float(i)] * 3
    assert len(caught) == 1 and "k: " in str(caught[0].message) and "eagerly" in step.explain()


def test_threads_that_capture_at_once():
    layer = nn.Linear(3, 2)
    step = torch.compile(lambda x: layer(x) * 2)
    found, errors = {}, []

    def work(n):
        try:
            with torch.no_grad():
                found[n] = [step(torch.full((n, 3), float(i))).tolist() for i in range(8)]
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    for n, results in found.items():
        for i, result in enumerate(results):
            np.testing.assert_allclose(result, (layer(torch.full((n, 3), float(i))) * 2).tolist(), rtol=1e-5)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_compiled_modules_are_compiled(how):
    module = torch.compile(nn.Linear(3, 2), fullgraph=True)
    for i in range(5):
        module(x(i))
    other = how(module)
    for i in range(5):
        assert torch.equal(other(x(i)), module(x(i)))
    assert other._orig_mod is not module._orig_mod and len(other._compiled.plans) == 1
