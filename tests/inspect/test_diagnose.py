"""inspect.diagnose: the verdict, its numbers and its words."""

import math

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.inspect import diagnose

T, B, I, H = 20, 3, 2, 6


class Scaled(nn.Module):
    """``h' = a h + x``: a recurrence whose Jacobian is a times the identity."""

    def __init__(self, a):
        self.a = nn.Parameter([a], dtype="float64")

    def initial_state(self, batch):
        return tg.zeros((batch, 2), dtype="float64")

    def forward(self, x, h):
        return self.a * h + x


def inputs(steps=T, width=I, dtype="float64"):
    return np.random.default_rng(0).normal(size=(steps, B, width)).astype(dtype)


def last(y, t):
    return tg.sum(y * y)


@pytest.mark.parametrize(
    ("a", "steps", "verdict"),
    [
        (0.5, 20, "vanishing"),
        (0.5, 5, "healthy"),  # 1/16 arrives
        (1.0, 50, "healthy"),
        (2.0, 20, "exploding"),
        (0.0, 5, "vanishing"),
    ],
)
def test_the_verdict_is_about_what_arrives_at_the_first_step(a, steps, verdict):
    found = diagnose(Scaled(a), inputs(steps), last)
    assert found.verdict == verdict and str(found).startswith(verdict)
    assert found.ratio == pytest.approx(a ** (steps - 1), rel=1e-9)
    if a == 0:
        assert found.decay == found.horizon == 0
    else:
        assert found.decay == pytest.approx(a, rel=1e-9)
        assert found.horizon == pytest.approx(math.inf if a == 1 else math.log(100) / abs(math.log(a)))


def test_each_norm_is_that_of_the_last_losses_gradient():
    cell, xs = tg.rnn.ElmanCell(I, H, rng=0, dtype="float64"), tg.tensor(inputs())
    states, h = [], cell.initial_state(B)
    with tg.Tape() as tape:
        for x in xs:
            h = cell(x, h)
            states.append(h)
        loss = last(h, T - 1)
    expected = [float(np.linalg.norm(g.numpy())) for g in tape.gradient(loss, states)]
    assert diagnose(cell, xs, last).passages[0].norms == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_a_fused_layer_and_its_composed_form_are_told_the_same(kind, options):
    layer, xs = getattr(tg.rnn, kind)(I, H, rng=0, dtype="float64", **options), tg.tensor(inputs())
    found = []
    for fused in (True, False):
        with tg.Tape() as tape:
            loss = tg.sum(layer(xs, fused=fused)[0][-1] ** 2)
        found.append(diagnose(tape, loss=loss))
    assert len(found[0].passages) == len(found[1].passages) == (4 if options else 1)
    for fused, composed in zip(found[0].passages, found[1].passages):
        assert fused.norms == pytest.approx(composed.norms, rel=1e-9)
        assert fused.spectral_radius == composed.spectral_radius
        assert fused.saturation == composed.saturation


@pytest.mark.parametrize(
    ("make", "letters"),
    [
        (tg.rnn.ElmanCell, "W"),
        (tg.rnn.LSTMCell, "ifgo"),
        (tg.rnn.GRUCell, "rzn"),
        (lambda *a, **k: tg.rnn.GRUCell(*a, reset_after=False, **k), "rzn"),
    ],
)
def test_the_spectral_radius_is_that_of_each_gates_matrix(make, letters):
    cell = make(I, H, rng=0, dtype="float64")
    found = diagnose(cell, inputs(), last).spectral_radius
    blocks = np.split(cell.weight_hh.numpy(), len(letters))
    expected = {name: np.max(np.abs(np.linalg.eigvals(block))) for name, block in zip(letters, blocks)}
    assert found == pytest.approx(expected)


def test_an_underflow_on_the_way_does_not_hide_the_rate():
    found = diagnose(Scaled(0.25), inputs(600), last)  # 0.25**537 is the least double
    # the slope is fitted through denormals too: the last few of 537 points have a bit or two left
    assert found.ratio == 0 and found.decay == pytest.approx(0.25, rel=1e-2)


def test_saturation_counts_entries_with_a_small_derivative():
    cell, xs = tg.rnn.LSTMCell(I, H, rng=0, dtype="float64"), inputs()
    nn.init.forget_gate_bias_(cell, 10.0)
    found = diagnose(cell, xs, last)
    assert found.saturation["sigmoid f"] == 1.0
    with tg.Tape() as tape:
        tg.rnn.scan(cell, tg.tensor(xs))
    third = [np.asarray(r.result) for r in tape if r.primitive.name == "tanh"][1::2]  # tanh(c)
    assert found.saturation["tanh"] == np.mean([1 - y * y < 0.1 for y in third])


def test_dead_units_are_zero_for_every_example_and_step():
    cell = tg.rnn.ElmanCell(I, H, "relu", rng=0, dtype="float64")
    bias = np.zeros(H)
    bias[:2] = -100.0
    cell.bias_ih.assign(bias)
    found = diagnose(cell, inputs(), last)
    assert list(found.dead.values()) == [(2, H)]
    assert "dead ReLUs: 2 of 6" in str(found) and "2 of 6 ReLU units" in str(found)


def test_clipped_steps_are_reported_when_they_are_given():
    cell = Scaled(1.0)
    assert "clipped" not in str(diagnose(cell, inputs(), last))
    assert diagnose(cell, inputs(), last, clipped=[True, False, False, False]).clipped == 0.25
    found = diagnose(cell, inputs(), last, clipped=0.75)
    assert "clipped steps: 75%" in str(found) and any("threshold" in each for each in found.advice)
    with pytest.raises(tg.errors.ArgumentError, match="share"):
        diagnose(cell, inputs(), last, clipped=3)


def test_advice_names_what_exists():
    found = [
        diagnose(tg.rnn.ElmanCell(I, H, rng=0), inputs(60, dtype="float32"), last),
        diagnose(tg.rnn.LSTMCell(I, H, rng=0), inputs(60, dtype="float32"), last),
        diagnose(Scaled(2.0), inputs(), last),
        diagnose(nn.Sequential(*[nn.Linear(4, 4, rng=i) for i in range(30)]), np.ones((3, 4), "f"), tg.sum),
    ]
    assert [each.verdict for each in found] == ["vanishing", "vanishing", "exploding", "vanishing"]
    for word in ("nn.init.orthogonal", "rnn.LSTM", "nn.init.forget_gate_bias_", "optim.clip_grad_norm", "nn.Residual"):
        assert any(word in line for each in found for line in each.advice), word
        home = tg
        for part in word.split("."):
            home = getattr(home, part)


def test_a_model_without_recurrence_is_followed_through_its_layers():
    found = diagnose(nn.Sequential(*[nn.Linear(4, 4, rng=i) for i in range(6)]), np.ones((3, 4), "f"))
    assert found.passages[0].along == "depth" and len(found.passages[0].norms) == 6
    assert "layer back" in str(found)


def test_losses_at_every_step_do_not_hide_the_decay():
    with tg.Tape() as tape:
        ys, _ = tg.rnn.scan(Scaled(0.5), tg.tensor(inputs()))
        loss = tg.sum(ys * ys)
    assert diagnose(tape, loss=loss).decay == pytest.approx(0.5, rel=1e-9)


def test_an_unused_or_missing_loss_is_replaced_by_a_direction():
    found = diagnose(Scaled(0.5), inputs())
    assert found.decay == pytest.approx(0.5) and found.passages[0].norms[-1] == pytest.approx(1)
    unused = diagnose(Scaled(0.5), inputs(), lambda y, t: tg.sum(y) * 0.0)
    assert unused.passages[0].norms[-1] == pytest.approx(1)


def test_a_gradient_that_is_not_finite_explodes():
    with np.errstate(all="ignore"):
        found = diagnose(Scaled(1e200), inputs(4), lambda y, t: tg.sum(y))
    assert found.verdict == "exploding" and "not finite" in str(found)


def test_a_model_is_left_as_it_is():
    layer = tg.rnn.LSTM(I, H, num_layers=2, dropout=0.5, rng=0)
    before = {name: p.numpy().copy() for name, p in layer.named_parameters()}
    xs = inputs(dtype="float32")
    diagnose(layer, xs, lambda ys: tg.sum(ys))
    first = layer(tg.tensor(xs))[0].numpy()
    again = tg.rnn.LSTM(I, H, num_layers=2, dropout=0.5, rng=0)(tg.tensor(xs))[0].numpy()
    assert np.array_equal(first, again)  # dropout drew nothing for the diagnosis
    assert all(np.array_equal(before[name], p.numpy()) and p.grad is None for name, p in layer.named_parameters())


def test_a_nested_tape_is_read():
    with tg.Tape(), tg.Tape() as tape:
        ys, _ = tg.rnn.scan(Scaled(0.5), tg.tensor(inputs()))
        loss = tg.sum(ys[-1])
    assert diagnose(tape, loss=loss).decay == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: diagnose(3), "a tape, or a model"),
        (lambda: diagnose(Scaled(1.0)), "a tape, or a model"),
        (lambda: diagnose(nn.Linear(2, 2), np.ones((3, 2), "f")), "nothing to follow"),
        (lambda: diagnose(tg.Tape()), "nothing to follow"),
        (lambda: diagnose(Scaled(1.0), inputs(), lambda y, t: y), "scalar"),
    ],
)
def test_what_cannot_be_diagnosed_says_why(call, message):
    with pytest.raises(tg.errors.TinygradRNNError, match=message):
        call()
