"""Laws of residual blocks and regularisers."""

import itertools

import numpy as np
import pytest
from helpers import close
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.data import augmentation
from tinygrad_rnn.training import Ensemble

SEEDS = st.integers(0, 2**32 - 1)
PHI = st.sampled_from([tg.tanh, tg.relu, tg.sigmoid])
few = settings(max_examples=20, deadline=None)


def normal(seed, *shape, dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def every_block(seed, zero_init, dtype="float64"):
    """Each ready block that keeps its input's shape and adds to it, with an input."""
    flat, image = normal(seed, 3, 4, dtype=dtype), normal(seed, 2, 4, 5, 5, dtype=dtype)
    options = {"zero_init": zero_init, "dtype": dtype, "rng": seed}
    yield nn.ResidualMLPBlock(4, 7, **options), flat
    yield nn.ResidualMLPBlock(4, activation=tg.tanh, normalize=True, **options), flat
    for kind, normalize in itertools.product(("basic", "bottleneck"), (True, False)):
        yield nn.ResidualConvBlock(4, kind=kind, normalize=normalize, **options), image


@few
@given(seed=SEEDS)
def test_the_vjp_of_a_residual_block_is_v_plus_that_of_its_branch(seed):
    """y = x + F(x) pulls v back to v + vjp_F(v), to the last bit: the engine adds the same two numbers."""
    for block, x in every_block(seed, zero_init=False):
        v = tg.tensor(normal(seed + 1, *x.shape))
        (whole,) = tg.vjp(block, tg.tensor(x))[1](v)
        (branch,) = tg.vjp(block.branch, tg.tensor(x))[1](v)
        assert_array_equal(whole.numpy(), v.numpy() + branch.numpy())


@few
@given(seed=SEEDS)
def test_the_jvp_of_a_residual_block_is_d_plus_that_of_its_branch(seed):
    for block, x in every_block(seed, zero_init=False):
        d = tg.tensor(normal(seed + 1, *x.shape))
        whole = tg.jvp(block, [tg.tensor(x)], [d])[1]
        branch = tg.jvp(block.branch, [tg.tensor(x)], [d])[1]
        assert_array_equal(whole.numpy(), d.numpy() + branch.numpy())


@few
@given(seed=SEEDS, dtype=st.sampled_from(["float32", "float64"]))
def test_a_block_whose_branch_is_zero_is_the_identity_bit_for_bit(seed, dtype):
    for block, x in every_block(seed, zero_init=True, dtype=dtype):
        v = normal(seed + 1, *x.shape, dtype=dtype)
        y, pull = tg.vjp(block, tg.tensor(x))
        assert y.numpy().tobytes() == x.tobytes()
        assert pull(tg.tensor(v))[0].numpy().tobytes() == v.tobytes()
        assert tg.jvp(block, [tg.tensor(x)], [tg.tensor(v)])[1].numpy().tobytes() == v.tobytes()


@few
@given(seed=SEEDS, depth=st.integers(1, 30))
def test_a_stack_that_starts_at_zero_passes_every_gradient_through_unchanged(seed, depth):
    """However deep: the gradient at the first block is the one at the last, to the last bit."""
    model = nn.Sequential(*[nn.ResidualMLPBlock(3, rng=seed + i, dtype="float64") for i in range(depth)])
    x, v = normal(seed, 2, 3), normal(seed + 1, 2, 3)
    y, pull = tg.vjp(model, tg.tensor(x))
    assert_array_equal(y.numpy(), x)
    assert_array_equal(pull(tg.tensor(v))[0].numpy(), v)


@few
@given(seed=SEEDS, phi=PHI, features=st.integers(1, 5), hidden=st.integers(1, 5))
def test_the_mlp_block_is_its_equations_composed(seed, phi, features, hidden):
    """z = W₁x + b₁, h = φ(z), y = x + W₂h + b₂: values and the gradients of all parameters."""
    block = nn.ResidualMLPBlock(features, hidden, activation=phi, zero_init=False, rng=seed, dtype="float64")
    x, v = tg.tensor(normal(seed, 3, features)), normal(seed + 1, 3, features)
    w1, b1, w2, b2 = block.parameters()

    def equations(x):
        z = x @ tg.matrix_transpose(w1) + b1
        return x + (phi(z) @ tg.matrix_transpose(w2) + b2)

    found = []
    for f in (block, equations):
        with tg.Tape() as tape:
            y = f(x)
        found.append([y, *tape.gradient(y, [x, w1, b1, w2, b2], cotangent=v)])
    for ours, composed in zip(*found):
        assert_array_equal(ours.numpy(), composed.numpy())


@few
@given(seed=SEEDS)
def test_the_blocks_jacobian_is_the_identity_plus_the_branchs(seed):
    block = nn.ResidualMLPBlock(4, activation=tg.tanh, zero_init=False, rng=seed, dtype="float64")
    x = tg.tensor(normal(seed, 4))
    close(tg.jacobian(block)(x), tg.jacobian(block.branch)(x).numpy() + np.eye(4), factor=8)


@few
@given(seed=SEEDS, gate=st.sampled_from([-1000.0, 1000.0]))
def test_a_highway_block_lies_between_its_input_and_a_plain_layer(seed, gate):
    """With the gate closed it is the identity, with the gate open the layer; σ(±1000) is 0 or 1 exactly."""
    block = nn.HighwayBlock(3, activation=tg.tanh, gate_bias=gate, rng=seed, dtype="float64")
    x = tg.tensor(normal(seed, 5, 3))
    expected = x if gate < 0 else tg.tanh(block.transform(x))
    close(block(x), expected, factor=4)


@few
@given(seed=SEEDS, members=st.integers(1, 6))
def test_the_ensembles_loss_is_at_most_the_mean_of_its_members_losses(seed, members):
    """Jensen, for losses that are convex in the output: squared, absolute, Huber, cross-entropy of logits."""
    ensemble = Ensemble([nn.Linear(3, 4, rng=seed + i, dtype="float64") for i in range(members)])
    x, goal = tg.tensor(normal(seed, 8, 3)), tg.tensor(normal(seed + 1, 8, 4))
    classes = tg.tensor(np.random.default_rng(seed).integers(4, size=8))
    for loss in (
        lambda y: tg.mse_loss(y, goal),
        lambda y: tg.l1_loss(y, goal),
        lambda y: tg.huber_loss(y, goal),
        lambda y: tg.cross_entropy(y, classes),
    ):
        each = [loss(model(x)).item() for model in ensemble.models]
        slack = 64 * np.finfo(np.float64).eps * max(each)  # of means over 32 terms and over the members
        assert loss(ensemble.predict(x)).item() <= np.mean(each) + slack


class Drawn:
    """Stands in for a generator: gives masks one by one, as numbers on either side of p."""

    def __init__(self, masks):
        self.masks = iter(masks)

    def random(self, shape):
        kept = np.array(next(self.masks), dtype=float).reshape(shape)
        return np.where(kept, 1.0, 0.0)


def over_all_masks(dropout, count, run):
    """The mean of run() over every mask of `count` entries, each with its probability."""
    total = 0
    masks = list(itertools.product([False, True], repeat=count))
    dropout.rng = Drawn(masks)
    for mask in masks:
        kept = sum(mask)
        total = total + dropout.p ** (count - kept) * (1 - dropout.p) ** kept * run()
    return total


@few
@given(seed=SEEDS, p=st.floats(0.05, 0.95))
def test_dropouts_mean_over_all_masks_is_its_evaluation_for_a_linear_model(seed, p):
    model = nn.Sequential(nn.Dropout(p), nn.Linear(5, 2, rng=seed, dtype="float64"))
    x = tg.tensor(normal(seed, 5))
    mean = over_all_masks(model[0], 5, lambda: model(x).numpy())
    close(mean, model.eval()(x), factor=32 * 8 / min(p, 1 - p))


@few
@given(seed=SEEDS, p=st.floats(0.05, 0.95))
def test_variational_dropouts_mean_over_all_masks_is_its_evaluation_at_every_step(seed, p):
    dropout = nn.VariationalDropout(p)
    x = tg.tensor(normal(seed, 4, 1, 3))
    mean = over_all_masks(dropout, 3, lambda: dropout(x).numpy())
    close(mean, x, factor=8 * 8 / min(p, 1 - p))


@few
@given(seed=SEEDS, p=st.floats(0.05, 0.95))
def test_stochastic_depths_mean_over_all_masks_is_the_block_in_evaluation(seed, p):
    block = nn.ResidualMLPBlock(3, zero_init=False, drop=p, rng=seed, dtype="float64")
    x = tg.tensor(normal(seed, 4, 3))
    mean = over_all_masks(block.drop, 4, lambda: block(x).numpy())
    close(mean, block.eval()(x), factor=16 * 8 / min(p, 1 - p))


@few
@given(seed=SEEDS, p=st.floats(0.05, 0.95))
def test_zoneouts_mean_over_all_masks_is_its_evaluation_for_one_step(seed, p):
    cell = tg.rnn.ZoneoutCell(tg.rnn.GRUCell(2, 4, rng=seed, dtype="float64"), p)
    x, h = tg.tensor(normal(seed, 1, 2)), tg.tensor(normal(seed + 1, 1, 4))
    total, masks = 0, list(itertools.product([False, True], repeat=4))
    cell.rng = Drawn(np.logical_not(masks))  # a number below p keeps the old value
    for mask in masks:
        total = total + p ** sum(mask) * (1 - p) ** (4 - sum(mask)) * cell(x, h).numpy()
    close(total, cell.eval()(x, h), factor=16 * 8)


@few
@given(seed=SEEDS, p=st.floats(0.05, 0.9))
def test_dropout_on_a_linear_model_is_adaptive_weight_decay(seed, p):
    """The mean of the squared error over all masks is that without dropout, plus p / (2 (1-p)) Σ w_j² x_j²."""
    linear, dropout = nn.Linear(4, 2, rng=seed, dtype="float64"), nn.Dropout(p)
    x, t = tg.tensor(normal(seed, 1, 4)), tg.tensor(normal(seed + 1, 1, 2))

    def cost(inputs):
        return 0.5 * tg.sum(tg.square(linear(inputs) - t))

    def gradient(f):
        with tg.Tape() as tape:
            value = f()
        return np.append(tape.gradient(value, linear.weight).numpy().ravel(), value.item())

    noisy = over_all_masks(dropout, 4, lambda: gradient(lambda: cost(dropout(x))))
    penalised = gradient(lambda: cost(x) + nn.adaptive_weight_decay(linear.weight, x, p))
    scale = 16 * 64 / min(p, 1 - p) ** 2  # 16 masks; entries up to 1/(1-p) squared
    assert np.abs(noisy - penalised).max() <= scale * np.finfo(np.float64).eps * max(1, np.abs(noisy).max())


AUGMENTATIONS = [
    augmentation.Shift(2),
    augmentation.Flip(0.7),
    augmentation.Flip(0.7, axis=-2),
    augmentation.Rotate(20.0),
    augmentation.Warp(1.5, 2.0),
    augmentation.Noise(0.3),
    augmentation.Compose([augmentation.Shift(1), augmentation.Noise(0.1)]),
]
FOR_SERIES = [
    augmentation.Jitter(0.3),
    augmentation.Scale(0.2),
    augmentation.TimeWarp(0.4),
    augmentation.TimeWarp(0.4, batch_first=False),
    augmentation.Scale(0.2, batch_first=False),
]


@pytest.mark.parametrize("augment", AUGMENTATIONS + FOR_SERIES, ids=str)
def test_an_augmentation_leaves_what_it_is_given_untouched(augment):
    """So that data which is validated on, or used again, stays as it is; and nothing is shared with the result."""
    shape = (5, 2, 6, 7) if augment in AUGMENTATIONS else (5, 9, 2)
    given = normal(0, *shape, dtype="float32")
    before = given.copy()
    given.flags.writeable = False
    result = augment(given, 3)
    assert result.shape == shape
    assert result.dtype == np.float32
    assert not np.shares_memory(result, given)
    assert_array_equal(given, before)
    assert_array_equal(augment(given, 3), result)
    assert not np.array_equal(augment(given, 4), result)
