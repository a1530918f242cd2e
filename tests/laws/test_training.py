"""Laws of training: a resumed run is an uninterrupted one, and an epoch is every example once."""

import contextlib
import itertools
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.data import augmentation
from tinygrad_rnn.training import ArrayBatches, EarlyStopping, fit, load_snapshot
from tinygrad_rnn.training.metrics import evaluating

OPTIMIZERS = [
    lambda model: optim.SGD(model, lr=0.1, momentum=0.9, nesterov=True),
    lambda model: optim.Adam(model, lr=0.05, betas=(0.8, 0.95)),
    lambda model: optim.AdamW(model, lr=0.05, weight_decay=0.1),
    lambda model: optim.RMSprop(model, lr=0.05, centered=True, momentum=0.5),
    lambda model: optim.Adagrad(model, lr=0.1),
]
EXAMPLES, STEPS = 12, 14
few = settings(max_examples=20, deadline=None)


class Run:
    """A run of fit with all that has a state of its own: masks, running statistics, a schedule, a carry, patience."""

    def __init__(self, seed, make, batch_size, every, patience):
        rng = np.random.default_rng(seed)
        self.data = rng.standard_normal((EXAMPLES, 1, 4, 4)), rng.integers(3, size=EXAMPLES)
        self.held_out = rng.standard_normal((5, 1, 4, 4)), rng.integers(3, size=5)
        self.seed, self.make, self.batch_size, self.every, self.patience = seed, make, batch_size, every, patience

    def fit(self, folder, **options):
        drop = nn.Dropout(0.3, rng=self.seed)
        model = nn.Sequential(
            nn.ResidualConvBlock(1, 2, drop=0.5, zero_init=False, rng=self.seed), tg.global_avg_pool, drop,
            nn.Linear(2, 3, rng=self.seed),
        )  # fmt: skip
        optimizer = self.make(model)

        def loss(model, batch, carry):
            """Pull the outputs to their running mean a little, which is what is carried."""
            logits = model(batch[0])
            mean = tg.mean(logits, axis=0)
            pull = 0.0 if carry is None else 0.1 * tg.mse_loss(mean, carry["mean"])
            return tg.cross_entropy(logits, batch[1]) + pull, {"mean": mean, "steps": 1}

        history = fit(
            model, self.data, loss=loss, optimizer=optimizer, batch_size=self.batch_size, clip=1.0,
            schedule=[optim.CosineDecay(optimizer, STEPS), optim.WarmUp(optimizer, 3)], validation=self.held_out,
            early_stopping=EarlyStopping(self.patience), augment=augmentation.Noise(0.1), seed=self.seed, folder=folder,
            every=self.every, progress=False, steps=STEPS, **options,
        )  # fmt: skip
        return model, history


def same_files(one, other):
    """Both files, bit for bit."""
    (arrays, metadata), (others, more) = (load_snapshot(folder / "model.safetensors") for folder in (one, other))
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: array.tobytes() for name, array in others.items()
    }
    assert metadata == more
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()


class CrashError(Exception):
    """Stands in for what ends a process."""


@few
@given(
    seed=st.integers(0, 2**32 - 1),
    make=st.sampled_from(OPTIMIZERS),
    batch_size=st.sampled_from([3, 4, 5, 12]),
    every=st.integers(1, 6),
    patience=st.integers(1, 4),
    ends=st.lists(st.tuples(st.integers(1, STEPS), st.booleans()), max_size=3),
)
def test_a_resumed_run_is_an_uninterrupted_one(seed, make, batch_size, every, patience, ends):
    """Stopped between steps, or crashed after any step: weights, snapshot and reports are the same, bit for bit."""
    run = Run(seed, make, batch_size, every, patience)
    with tempfile.TemporaryDirectory() as place:
        whole, parts = Path(place, "whole"), Path(place, "parts")
        model, history = run.fit(whole)
        for end, crash in ends:

            def callback(step, state, end=end, crash=crash):
                if step >= end and crash:
                    raise CrashError
                state.stop |= step >= end

            with contextlib.suppress(CrashError):
                run.fit(parts, callbacks=[callback], resume=True)
        again, resumed = run.fit(parts, resume=True)
        assert (resumed.lines, resumed.steps, resumed.stopped) == (history.lines, history.steps, history.stopped)
        for (name, array), other in zip(model.state_dict().items(), again.state_dict().values()):
            assert array.tobytes() == other.tobytes(), name
        same_files(whole, parts)


@few
@given(seed=st.integers(0, 2**70), examples=st.integers(1, 20), batch_size=st.integers(1, 25), epoch=st.integers(0, 99))
def test_an_epoch_is_every_example_once_whatever_was_asked_for_before(seed, examples, batch_size, epoch):
    batches = ArrayBatches((np.arange(examples), np.arange(examples) ** 2), batch_size, seed)
    steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
    x, y = (np.concatenate(parts) for parts in zip(*map(batches.batch, steps)))
    assert_array_equal(np.sort(x), np.arange(examples))
    assert_array_equal(y, x**2)
    fresh = ArrayBatches((np.arange(examples), np.arange(examples) ** 2), batch_size, seed)
    for step in reversed(steps):
        for one, other in itertools.zip_longest(batches.batch(step), fresh.batch(step)):
            assert_array_equal(one, other)


@few
@given(seed=st.integers(0, 2**32 - 1), make=st.sampled_from(OPTIMIZERS))
def test_validation_and_augmentation_leave_what_they_are_given_alone(seed, make):
    """Validation data are seen as they are, whatever the augmentation; and watching a run does not change it."""
    run = Run(seed, make, 4, 3, patience=STEPS)
    seen = []
    arrays = [array.copy() for array in (*run.data, *run.held_out)]
    for array in (*run.data, *run.held_out):
        array.flags.writeable = False
    model, _ = run.fit(None, callbacks=[lambda step, state: seen.append(state.validation.arrays)])
    for given_, before in zip((*run.data, *run.held_out), arrays):
        assert_array_equal(given_, before)
    for each in seen:
        assert_array_equal(each[0], run.held_out[0].astype("float32"))
    with evaluating(model):
        before = model.state_dict()
        model(tg.tensor(run.held_out[0].astype("float32")))
        for (name, array), other in zip(before.items(), model.state_dict().values()):
            assert array.tobytes() == other.tobytes(), name
