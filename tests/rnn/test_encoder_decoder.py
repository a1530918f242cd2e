"""Encoder-decoder, beam search, draws."""

import itertools

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import optim, rnn
from tinygrad_rnn.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
TABLE = np.log(RNG.dirichlet(np.ones(4) * 0.7, size=(4, 4)))  # log p(next | the two before), symbol 0 ends


def markov(symbols, state):
    """A second-order chain: the state is the symbol before."""
    now, before = symbols.numpy(), state.numpy()[:, 0].astype(int)
    return tg.tensor(TABLE[before, now]), tg.tensor(now[:, None].astype(float))


def all_sequences(longest):
    """Every sequence that ends within `longest` symbols, with its log probability."""
    for length in range(longest):
        for symbols in itertools.product((1, 2, 3), repeat=length):
            chain = (0, 0, *symbols, 0)
            yield sum(TABLE[chain[i], chain[i + 1], chain[i + 2]] for i in range(length + 1)), symbols


def test_a_wide_beam_finds_the_likeliest_sequence():
    found = rnn.beam_search(markov, tg.zeros((1, 1), dtype="float64"), start=0, end=0, width=200, max_length=5)
    expected = sorted(all_sequences(5), reverse=True)
    ended = [one for one in found if one.ended]
    for one, (score, symbols) in zip(ended[:20], expected):
        assert one.symbols == symbols
        assert one.log_probability == pytest.approx(score, rel=1e-12)


def test_a_wider_beam_is_never_worse_here_and_width_one_is_greedy():
    state = tg.zeros((1, 1), dtype="float64")
    scores = [
        rnn.beam_search(markov, state, start=0, end=0, width=w, max_length=30)[0].log_probability for w in (1, 3, 50)
    ]
    assert scores == sorted(scores)
    greedy, before, now = [], 0, 0
    for _ in range(30):
        before, now = now, int(TABLE[before, now].argmax())
        if now == 0:
            break
        greedy.append(now)
    assert rnn.beam_search(markov, state, start=0, end=0, width=1, max_length=30)[0].symbols == tuple(greedy)


def test_draws_follow_the_softmax():
    logits = np.log([0.2, 0.3, 0.5])
    drawn = rnn.draw(np.broadcast_to(logits, (20_000, 3)), rng=0)
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, [0.2, 0.3, 0.5], atol=4 * 0.5 / np.sqrt(20_000))
    cold = rnn.draw(np.broadcast_to(logits, (20_000, 3)), 0.5, rng=0)
    squares = np.array([0.04, 0.09, 0.25]) / 0.38
    np.testing.assert_allclose(np.bincount(cold) / 20_000, squares, atol=4 * 0.5 / np.sqrt(20_000))
    with pytest.raises(ArgumentError, match="at least 0"):
        rnn.draw(logits, -1)


@pytest.mark.parametrize("attention", [None, "additive", "dot"])
def test_it_learns_to_reverse(attention):
    model = rnn.EncoderDecoder(5, 5, 24, attention=attention, rng=0)
    rng = np.random.default_rng(0)
    optimizer = optim.Adam(model, lr=0.01)
    for _ in range(150):
        source, target, lengths = reversals(rng, 32)
        with tg.Tape():
            loss = model.loss(source, target, lengths, lengths + 1)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.7
    source, target, lengths = reversals(rng, 8)
    greedy = model.translate(source, lengths, max_length=8)
    beam = model.translate(source, lengths, max_length=8, width=3)
    wanted = [target[:n, lane].tolist() for lane, n in enumerate(lengths)]
    assert sum(a == b for a, b in zip(greedy, wanted)) >= 3
    assert sum(a == b for a, b in zip(beam, wanted)) >= 3
    # the padding of a lane changes nothing
    alone = model.translate(source[: lengths[0], :1], lengths[:1], max_length=8)
    assert alone[0] == greedy[0]


def reversals(rng, batch):
    """Sequences of 1 to 3 symbols, and the same backwards with an end."""
    lengths = rng.integers(1, 4, batch)
    source, target = np.zeros((3, batch), int), np.zeros((4, batch), int)
    for lane, n in enumerate(lengths):
        source[:n, lane] = rng.integers(1, 5, n)
        target[:n, lane] = source[:n, lane][::-1]
    return source, target, lengths


def test_padding_of_the_target_costs_nothing():
    model = rnn.EncoderDecoder(5, 5, 6, rng=0, dtype="float64")
    source, target = np.ones((3, 1), int), np.array([[1], [2], [0]])
    longer = np.concatenate([target, [[3], [4]]])
    assert model.loss(source, target).item() == pytest.approx(model.loss(source, longer, None, [3]).item(), rel=1e-12)


def test_attention_weights_are_shown_and_wrong_use_says_so():
    model = rnn.EncoderDecoder(5, 5, 6, attention="dot", rng=0)
    weights = model.attended(np.ones((3, 2), int), np.ones((4, 2), int), [3, 1])
    assert weights.shape == (4, 3, 2)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert np.all(weights[:, 1:, 1] == 0)
    with pytest.raises(ArgumentError, match="no attention"):
        rnn.EncoderDecoder(5, 5, 6).attended(np.ones((3, 2), int), np.ones((4, 2), int))
    with pytest.raises(ArgumentError, match="target symbols"):
        rnn.EncoderDecoder(5, 5, 6, end=5)
    with pytest.raises(ShapeError, match="one lane"):
        rnn.beam_search(markov, tg.zeros((2, 1)), start=0, end=0)
