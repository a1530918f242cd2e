"""Schedules: closed forms of the step, products of each other, and the same again after a restart."""

import math

import pytest
from numpy.testing import assert_allclose

from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import ArgumentError, StateDictError


def optimizer(lr=1.0):
    return optim.SGD([{"params": [nn.Parameter([0.0])]}, {"params": [nn.Parameter([0.0])], "lr": 10 * lr}], lr=lr)


def rates(opt, steps, *schedules):
    found = []
    for _ in range(steps):
        found.append(opt.param_groups[0]["lr"])
        assert_allclose(opt.param_groups[1]["lr"], 10 * opt.param_groups[0]["lr"], rtol=1e-15)
        opt.step()
        for schedule in schedules:
            schedule.step()
    return found


def test_step_decay_multiplies_once_every_few_steps():
    opt = optimizer(0.8)
    assert_allclose(rates(opt, 5, optim.StepDecay(opt, every=2, factor=0.5)), [0.8, 0.8, 0.4, 0.4, 0.2], rtol=1e-15)


def test_warm_up_rises_linearly_from_the_first_step_on():
    opt = optimizer(2.0)
    assert rates(opt, 5, optim.WarmUp(opt, steps=4)) == [0.5, 1.0, 1.5, 2.0, 2.0]


def test_cosine_decay_follows_half_a_wave_and_stays_at_its_end():
    opt = optimizer()
    found = rates(opt, 8, optim.CosineDecay(opt, total_steps=6, warmup_steps=2, final=0.2))
    wave = [0.2 + 0.4 * (1 + math.cos(math.pi * t / 4)) for t in range(5)]
    assert_allclose(found, [0.5, 1.0, *wave, 0.2], rtol=1e-14)


def test_cosine_decay_equals_that_of_torch():
    torch = pytest.importorskip("torch")
    peer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    other = torch.optim.lr_scheduler.CosineAnnealingLR(peer, T_max=9)
    opt = optimizer(0.3)
    expected = []
    for _ in range(9):
        expected.append(peer.param_groups[0]["lr"])
        peer.step()
        other.step()
    assert_allclose(rates(opt, 9, optim.CosineDecay(opt, total_steps=9)), expected, rtol=1e-12)


def test_two_schedules_multiply():
    opt = optimizer()
    found = rates(opt, 5, optim.WarmUp(opt, steps=2), optim.StepDecay(opt, every=2, factor=0.1))
    assert_allclose(found, [0.5, 1.0, 0.1, 0.1, 0.01], rtol=1e-14)


def test_a_restarted_run_sees_the_same_rates():
    opt = optimizer(0.3)
    schedules = [optim.CosineDecay(opt, total_steps=20, warmup_steps=3), optim.StepDecay(opt, every=4, factor=0.7)]
    rates(opt, 7, *schedules)
    saved = [opt.state_dict(), *(schedule.state_dict() for schedule in schedules)]
    expected = rates(opt, 10, *schedules)

    again = optimizer(0.9)
    others = [optim.CosineDecay(again, total_steps=20, warmup_steps=3), optim.StepDecay(again, every=4, factor=0.7)]
    again.load_state_dict(saved[0])
    for schedule, state in zip(others, saved[1:]):
        schedule.load_state_dict(state)
    assert rates(again, 10, *others) == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda opt: optim.StepDecay(opt, every=0), "every must be an integer of at least 1; got 0"),
        (lambda opt: optim.StepDecay(opt, every=2, factor=1.5), "factor"),
        (lambda opt: optim.WarmUp(opt, steps=2.5), "steps must be an integer"),
        (lambda opt: optim.CosineDecay(opt, total_steps=5, warmup_steps=5), "warmup_steps must be below total_steps"),
        (lambda opt: optim.CosineDecay(opt, total_steps=5, final=2.0), "final"),
        (lambda opt: optim.WarmUp([opt], steps=2), "a schedule needs an optimiser; got a list"),
    ],
)
def test_impossible_schedules_raise(make, message):
    with pytest.raises(ArgumentError, match=message):
        make(optimizer())


@pytest.mark.parametrize("saved", [{}, {"steps": -1}, {"steps": "3"}, None])
def test_a_state_without_steps_raises(saved):
    with pytest.raises(StateDictError, match="state_dict of a schedule"):
        optim.WarmUp(optimizer(), 3).load_state_dict(saved)
