"""RNN, GRU and LSTM as modules: names and pictures, dropout between layers, learned initial states."""

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import rnn

LAYERS = {"RNN": rnn.RNN, "GRU": rnn.GRU, "LSTM": rnn.LSTM}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
every_layer = pytest.mark.parametrize("kind", LAYERS)
both_forms = pytest.mark.parametrize("fused", [True, False], ids=["fused", "composed"])


def sequence(steps=6, batch=4, size=2, seed=0):
    return tg.tensor(np.random.default_rng(seed).normal(size=(steps, batch, size)).astype("float32"))


def state_parts(state):
    return list(state) if isinstance(state, tuple) else [state]


# ---- names and pictures


@every_layer
def test_parameters_have_torchs_names_in_torchs_order_and_torchs_shapes(kind):
    net, g = LAYERS[kind](2, 3, num_layers=2, bidirectional=True, rng=0), GATES[kind]
    assert [(name, parameter.shape) for name, parameter in net.named_parameters()] == [
        (f"{name}_{suffix}", shape)
        for suffix, inputs in (("l0", 2), ("l0_reverse", 2), ("l1", 6), ("l1_reverse", 6))
        for name, shape in (
            ("weight_ih", (3 * g, inputs)),
            ("weight_hh", (3 * g, 3)),
            ("bias_ih", (3 * g,)),
            ("bias_hh", (3 * g,)),
        )
    ]


@every_layer
def test_without_bias_there_are_only_weights(kind):
    net = LAYERS[kind](2, 3, bias=False, rng=0)
    assert [name for name, _ in net.named_parameters()] == ["weight_ih_l0", "weight_hh_l0"]


@every_layer
def test_initial_weights_are_uniform_within_one_over_root_hidden_and_follow_the_seed(kind):
    net, again, other = (LAYERS[kind](8, 16, num_layers=2, rng=seed).state_dict() for seed in (0, 0, 1))
    for name, values in net.items():
        assert np.array_equal(values, again[name])
        assert not np.array_equal(values, other[name])
        # 16 or more independent values: the largest lies below 0.4 of the bound once in 0.4^-16 > 2 million draws
        assert 0.1 < np.abs(values).max() <= 0.25
    assert all(values.dtype == np.float32 for values in net.values())


def test_the_picture_of_a_layer_says_how_it_was_made():
    assert repr(rnn.GRU(2, 3, rng=0)).startswith("GRU(2, 3)")
    assert repr(rnn.RNN(2, 3, rng=0)).startswith("RNN(2, 3)")
    text = repr(rnn.LSTM(2, 3, num_layers=2, bidirectional=True, batch_first=True, dropout=0.25, rng=0))
    assert "LSTM(2, 3, num_layers=2, batch_first=True, bidirectional=True)" in text
    assert "p=0.25" in text
    count = sum(4 * 3 * (inputs + 3 + 2) * 2 for inputs in (2, 6))
    assert f"[{count} parameters]" in text
    assert repr(rnn.GRU(2, 3, bias=False, reset_after=False, rng=0)).startswith(
        "GRU(2, 3, bias=False, reset_after=False)"
    )
    relu = rnn.RNN(2, 3, nonlinearity="relu", learned_initial_state=True, rng=0)
    assert repr(relu).startswith("RNN(2, 3, learned_initial_state=True, nonlinearity='relu')")


def test_the_picture_of_a_cell_says_how_it_was_made():
    assert repr(rnn.GRUCell(2, 3, rng=0)).startswith("GRUCell(2, 3)")
    assert repr(rnn.GRUCell(2, 3, reset_after=False, rng=0)).startswith("GRUCell(2, 3, reset_after=False)")
    assert repr(rnn.ElmanCell(2, 3, "relu", rng=0)).startswith("ElmanCell(2, 3, nonlinearity='relu')")
    assert repr(rnn.LSTMCell(2, 3, bias=False, rng=0)).startswith("LSTMCell(2, 3, bias=False)")
    lines = repr(rnn.StackedCell([rnn.ElmanCell(2, 3, rng=0), rnn.LSTMCell(3, 4, rng=0)])).splitlines()
    assert "StackedCell" in lines[0]
    assert "ElmanCell(2, 3)" in lines[1]
    assert "LSTMCell(3, 4)" in lines[2]


@pytest.mark.parametrize(("kind", "cell"), [("RNN", rnn.ElmanCell), ("GRU", rnn.GRUCell), ("LSTM", rnn.LSTMCell)])
def test_a_layer_is_its_cell_under_scan(kind, cell):
    net, step, xs = LAYERS[kind](2, 3, rng=0), cell(2, 3, rng=0), sequence()
    assert [name for name, _ in step.named_parameters()] == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    for name, parameter in step.named_parameters():
        assert np.array_equal(parameter.numpy(), getattr(net, f"{name}_l0").numpy())
    (ys, last), (wanted, end) = net(xs, fused=False), rnn.scan(step, xs)
    assert np.array_equal(ys.numpy(), wanted.numpy())
    for a, b in zip(state_parts(last), state_parts(end), strict=True):
        assert np.array_equal(a.numpy()[0], b.numpy())


@every_layer
def test_records_of_a_layer_carry_its_name_and_that_of_their_weights(kind):
    net = LAYERS[kind](2, 3, num_layers=2, bidirectional=True, rng=0)
    with tg.Tape() as tape:
        net(sequence())
    scopes = [record.scope for record in tape if record.primitive.name.endswith("_sequence")]
    assert scopes == [f"{kind}/{suffix}" for suffix in ("l0", "l0_reverse", "l1", "l1_reverse")]
    assert {record.file for record in tape} == {__file__}


# ---- dropout


@every_layer
@both_forms
def test_dropout_is_the_identity_after_eval(kind, fused):
    net, plain = (LAYERS[kind](2, 3, num_layers=2, dropout=p, rng=0) for p in (0.5, 0.0))
    net.eval()
    assert np.array_equal(net(sequence(), fused=fused)[0].numpy(), plain(sequence(), fused=fused)[0].numpy())
    net.train()
    assert not np.array_equal(net(sequence(), fused=fused)[0].numpy(), plain(sequence(), fused=fused)[0].numpy())


@every_layer
@both_forms
def test_dropout_acts_between_layers_and_not_after_the_last(kind, fused):
    """With p = 1 the second layer sees zeros; the first layer's state and the last layer's outputs are whole."""
    net = LAYERS[kind](2, 3, num_layers=2, dropout=1.0, rng=0)
    ys, last = net(sequence(), fused=fused)
    other, other_last = net(sequence(seed=1), fused=fused)
    assert ys.numpy().all()
    assert np.array_equal(ys.numpy(), other.numpy())
    assert not np.array_equal(state_parts(last)[0].numpy()[0], state_parts(other_last)[0].numpy()[0])


@every_layer
def test_dropout_does_nothing_in_a_single_layer(kind):
    net, plain = (LAYERS[kind](2, 3, dropout=p, rng=0) for p in (0.9, 0.0))
    assert np.array_equal(net(sequence())[0].numpy(), plain(sequence())[0].numpy())


@every_layer
def test_dropout_follows_the_seed_and_draws_anew_at_each_call(kind):
    first, same = (LAYERS[kind](2, 3, num_layers=2, dropout=0.5, rng=7) for _ in range(2))
    runs = [[net(sequence())[0].numpy() for _ in range(2)] for net in (first, same)]
    assert np.array_equal(runs[0][0], runs[1][0])
    assert np.array_equal(runs[0][1], runs[1][1])
    assert not np.array_equal(runs[0][0], runs[0][1])


def test_dropout_drops_the_share_it_was_told_and_scales_up_the_rest():
    """Seen through a second layer that is the identity: relu, unit weights, nothing recurrent."""
    size = 4
    net, plain = (rnn.RNN(size, size, 2, "relu", dropout=p, bias=False, rng=0) for p in (0.25, 0.0))
    for each in (net, plain):
        each.load_state_dict({name: np.eye(size) * ("ih" in name) for name, _ in each.named_parameters()})
    xs = tg.ones((50, 20, size))
    assert np.array_equal(plain(xs)[0].numpy(), xs.numpy())
    found = net(xs)[0].numpy()
    kept = np.float32(1 / 0.75)
    assert set(np.unique(found)) == {np.float32(0), kept}
    # 4000 draws: the share has a standard deviation of sqrt(0.25 * 0.75 / 4000) = 0.0068; six of them
    assert abs((found == 0).mean() - 0.25) < 0.041


# ---- learned initial states


@every_layer
def test_a_learned_initial_state_is_a_parameter_for_each_layer_and_direction(kind):
    net = LAYERS[kind](2, 3, num_layers=2, bidirectional=True, learned_initial_state=True, rng=0)
    learned = [(name, p) for name, p in net.named_parameters() if name.endswith("_0")]
    assert [name for name, _ in learned] == (["h_0", "c_0"] if kind == "LSTM" else ["h_0"])
    for name, parameter in learned:
        assert parameter.shape == (4, 3)
        assert not parameter.numpy().any()
        assert name in net.state_dict()
    assert not any(name.endswith("_0") for name, _ in LAYERS[kind](2, 3, rng=0).named_parameters())


@every_layer
@both_forms
def test_a_learned_initial_state_is_shared_by_all_lanes_and_sums_their_gradients(kind, fused):
    net = LAYERS[kind](2, 3, num_layers=2, learned_initial_state=True, rng=0, dtype="float64")
    rng = np.random.default_rng(0)
    learned = {name: p for name, p in net.named_parameters() if name.endswith("_0")}
    for parameter in learned.values():
        parameter.assign(rng.normal(size=parameter.shape))
    xs = sequence().astype("float64")
    given = {name: tg.tensor(np.repeat(p.numpy()[:, None], 4, axis=1)) for name, p in learned.items()}
    with tg.Tape() as tape:
        ys, _ = net(xs, fused=fused)
        loss = tg.sum(tg.sin(ys))
    with tg.Tape() as other:
        same, _ = net(xs, tuple(given.values()) if kind == "LSTM" else given["h_0"], fused=fused)
        same_loss = tg.sum(tg.sin(same))
    assert np.array_equal(ys.numpy(), same.numpy())
    found, lanes = tape.gradient(loss, learned), other.gradient(same_loss, given)
    for name in learned:
        summed = lanes[name].numpy().sum(axis=1)
        # a sum of four lanes, in one order or another: three roundings of terms that add up to `size`
        size = np.abs(lanes[name].numpy()).sum(axis=1)
        assert np.abs(found[name].numpy()).max() > 1e-3
        assert (np.abs(found[name].numpy() - summed) <= 3 * np.finfo(np.float64).eps * size).all()


@every_layer
def test_a_given_state_takes_the_place_of_the_learned_one(kind):
    net = LAYERS[kind](2, 3, learned_initial_state=True, rng=0)
    zeros = tg.zeros((1, 4, 3))
    plain = net(sequence())[0].numpy()
    net.h_0.assign(np.ones((1, 3)))
    assert not np.array_equal(net(sequence())[0].numpy(), plain)
    assert np.array_equal(net(sequence(), (zeros, zeros) if kind == "LSTM" else zeros)[0].numpy(), plain)
