"""fit: what it computes, what it reports and calls, what it leaves on disk, and what it refuses."""

import json
import signal
import sys
import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError, ShapeError, SnapshotError
from tinygrad_rnn.training import EarlyStopping, fit, load_snapshot, save_snapshot
from tinygrad_rnn.training.progress import LiveLine

X = np.random.default_rng(0).standard_normal((10, 3))
Y = X @ np.array([[1.0], [-2.0], [0.5]]) + 0.1


def squares(model, batch, carry):
    x, y = batch
    return tg.mse_loss(model(x), y)


def linear(seed=0, dtype="float64"):
    return nn.Linear(3, 1, rng=seed, dtype=dtype)


def trained(model=None, data=(X, Y), *, lr=0.05, **options):
    """Run fit, quietly, with SGD unless told otherwise; returns the model and the history."""
    model = linear() if model is None else model
    options = {"loss": squares, "batch_size": 4, "progress": False} | options
    if "optimizer" not in options:
        options["optimizer"] = optim.SGD(model, lr=lr)
    if not {"steps", "epochs"} & set(options):
        options["epochs"] = 2
    return model, fit(model, data, **options)


# ---- what it computes


def test_a_step_on_all_examples_is_gradient_descent_on_their_mean():
    model, start = linear(), linear()
    trained(model, batch_size=10, steps=1, lr=0.1)
    with tg.Tape() as tape:
        loss = tg.mse_loss(start(tg.tensor(X)), tg.tensor(Y))
    gradient = tape.gradient(loss, start.weight).numpy()
    assert np.abs(model.weight.numpy() - (start.weight.numpy() - 0.1 * gradient)).max() < 1e-14  # sums in another order


def test_it_trains_with_every_part_in_place_and_learns():
    model = linear()
    optimizer = optim.Adam(model, lr=0.1)
    schedule = [optim.CosineDecay(optimizer, 200)]
    options = {"optimizer": optimizer, "schedule": schedule, "clip": 1.0, "steps": 200, "validation": (X, Y)}
    _, history = trained(model, **options)
    assert history["validation_loss"][-1] < 1e-3 < history["validation_loss"][0]
    assert history.steps == 200
    assert history.stopped == ""
    assert history["step"] == [*range(3, 200, 3), 200]  # every epoch of 3 steps, and in the end


def test_the_seed_decides_the_order_and_nothing_else_does():
    one, other, third = (trained(seed=seed)[0].weight.numpy() for seed in (1, 1, 2))
    assert_array_equal(one, other)
    assert not np.array_equal(one, third)
    np.random.seed(5)  # which plays no part
    assert_array_equal(trained(seed=1)[0].weight.numpy(), one)


def test_truncated_back_propagation_carries_the_state_and_cuts_its_history():
    """The same numbers as the loop written out; and no tape grows from window to window."""
    series = np.sin(np.arange(41) / 3).astype("float32")[:, None, None]

    def window(step):
        k = 8 * (step % 5)
        return tg.tensor(series[k : k + 8]), tg.tensor(series[k + 1 : k + 9])

    class Predictor(nn.Module):
        def __init__(self):
            self.rnn, self.out = tg.rnn.RNN(1, 4, rng=0), nn.Linear(4, 1, rng=1)

        def forward(self, x, state):
            y, state = self.rnn(x, state)
            return self.out(y), state

    def loss(model, batch, carry):
        y, state = model(batch[0], carry)
        return tg.mse_loss(y, batch[1]), state

    model, by_hand = Predictor(), Predictor()
    seen = []
    fit(model, window, loss=loss, optimizer=optim.SGD(model, lr=0.1), steps=5, progress=False,
        callbacks=[lambda step, run: seen.append(run.carry.numpy())])  # fmt: skip
    optimizer, state = optim.SGD(by_hand, lr=0.1), None
    for step in range(5):
        with tg.Tape() as tape:
            value, state = loss(by_hand, window(step), state)
        parameters = list(by_hand.parameters())
        optimizer.step(dict(zip(parameters, tape.gradient(value, parameters))))
        state = state.detach()
        assert_array_equal(seen[step], state.numpy())
    for ours, theirs in zip(model.parameters(), by_hand.parameters()):
        assert_array_equal(ours.numpy(), theirs.numpy())


def test_arrays_take_the_dtype_of_the_model_and_integers_stay_integers():
    kinds = []

    def loss(model, batch, carry):
        kinds.append([str(part.dtype) for part in batch])
        return tg.cross_entropy(model(batch[0]), batch[1])

    for dtype in ("float32", "float64"):
        trained(nn.Linear(3, 2, rng=0, dtype=dtype), (X.tolist(), np.arange(10, dtype="uint8") % 2), loss=loss, steps=1)
    assert kinds == [["float32", "int64"], ["float64", "int64"]]


def test_modes_are_as_before_and_a_part_in_evaluation_mode_stays_in_it():
    modes = []

    def note(step, run):
        modes.append((run.model.training, run.model[1].training))

    model = nn.Sequential(linear(), nn.Dropout(0.5, rng=0))
    for prepare in (model.eval, model.train, lambda: model[1].eval()):
        prepare()
        before = [module.training for module in model.modules()]
        trained(model, steps=1, callbacks=[note], validation=(X, Y))
        assert [module.training for module in model.modules()] == before
    assert modes == [(True, True), (True, True), (True, False)]


def test_validation_is_in_evaluation_mode_and_weighs_examples_alike():
    """Batches of 4, 4 and 2: the mean over examples, without dropout."""
    model = nn.Sequential(nn.Dropout(0.5, rng=0), linear())
    _, history = trained(model, steps=3, every=3, validation=(X, Y))
    model.eval()
    whole = tg.mse_loss(model(tg.tensor(X)), tg.tensor(Y)).item()
    assert history["validation_loss"][-1] == pytest.approx(whole, rel=1e-14)


def test_augmentation_changes_the_training_batches_alone():
    """The arrays that were given stay as they are; what is validated on is what was given."""
    x, y = X.copy(), Y.copy()
    x.flags.writeable = y.flags.writeable = False
    shapes, validated = [], []

    def loss(model, batch, carry):
        (shapes if model.training else validated).append(batch[0].numpy())
        return squares(model, batch, carry)

    def in_place(x, rng):
        x += rng.standard_normal(x.shape)
        return x

    trained(data=(x, y), loss=loss, augment=in_place, validation=(x, y), epochs=1)
    assert_array_equal(x, X)
    assert_array_equal(np.concatenate(validated), X)
    assert not np.isin(np.concatenate(shapes), X).any()


def test_batches_of_any_kind_are_augmented_in_their_first_part():
    seen = []

    def batches(step):
        return [X[:2], Y[:2]]

    def loss(model, batch, carry):
        seen.append(batch)
        return squares(model, [tg.tensor(part) for part in batch], carry)

    trained(data=batches, loss=loss, augment=lambda x, rng: 2 * x, steps=1)
    assert_array_equal(seen[0][0], 2 * X[:2])
    assert_array_equal(seen[0][1], Y[:2])


# ---- reports, callbacks, stopping


def test_the_reports_are_means_over_the_steps_between_them():
    values = []
    callbacks = [lambda step, run: values.append((run.loss, run.norm))]
    _, history = trained(steps=5, every=2, clip=0.5, callbacks=callbacks)
    losses, norms = np.array(values).T
    assert history["step"] == [2, 4, 5]
    for column, each in (("loss", losses), ("gradient_norm", norms), ("clipped", 1.0 * (norms > 0.5))):
        assert history[column] == pytest.approx([each[:2].mean(), each[2:4].mean(), each[4]], rel=1e-15)
    with pytest.raises(ArgumentError, match="no column 'accuracy'; it has step, loss"):
        history["accuracy"]
    assert repr(history).startswith("History(5 steps: step=5, loss=")


def test_validation_may_be_a_function_that_names_several_numbers():
    def accuracy(model):
        assert not model.training
        return {"bias": model.bias, "constant": np.float32(2)}

    _, history = trained(validation=accuracy, steps=1)
    assert history["constant"] == [2.0]
    assert trained(validation=lambda model: 3, steps=1)[1]["validation_loss"] == [3.0]


def test_early_stopping_ends_the_run_with_the_best_weights(tmp_path):
    """A validation that falls until step 4 and rises after it."""
    kept = {}

    def validation(model):
        step = len(kept)
        kept[step] = model.state_dict()
        return abs(step - 3)

    stopping = EarlyStopping(patience=2)
    options = {"validation": validation, "early_stopping": stopping, "every": 1, "steps": 50, "folder": tmp_path}
    model, history = trained(**options)
    assert (history.steps, history.stopped, stopping.best_step) == (6, "early stopping", 4)
    for name, array in model.state_dict().items():
        assert_array_equal(array, kept[3][name])
    # resumed, it has nothing left to do, and comes to the same weights
    again, history = trained(**options | {"early_stopping": EarlyStopping(patience=2), "resume": True})
    assert (history.steps, history.stopped) == (6, "early stopping")
    assert_array_equal(again.weight.numpy(), model.weight.numpy())


def test_a_callback_may_stop_the_run():
    def callback(step, run):
        run.stop = step == 3

    _, history = trained(callbacks=[callback], steps=10)
    assert (history.steps, history.stopped) == (3, "callback")


def test_progress_prints_a_line_for_each_report(capsys):
    trained(steps=3, every=2, progress=True, validation=(X, Y))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["step", "2"], ["step", "3"]]
    assert all(name in lines[0] for name in ("loss", "validation_loss", "|g|"))
    trained(steps=3)
    assert capsys.readouterr() == ("", "")


def test_a_bar_moves_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with LiveLine(3) as bar:
        bar.update(2, "loss 1")
        bar.print("a line")
    out, err = capsys.readouterr()
    assert out == "a line\n"
    assert "step 2/3" in err


# ---- Ctrl-C


def at(step, act):
    return lambda done, run: act() if done == step else None


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_the_run_after_the_step_and_keeps_the_work(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    _, history = trained(callbacks=[at(5, ctrl_c)], steps=9, folder=tmp_path)
    assert (history.steps, history.stopped) == (5, "interrupt")
    assert load_snapshot(tmp_path / "model.safetensors").metadata["step"] == 5
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_ends_it_at_once_and_the_last_snapshot_stays(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    model = nn.Sequential(linear(), nn.Dropout(0.5, rng=0)).eval()
    with pytest.raises(KeyboardInterrupt, match=r"stopped at once in step 6\. The snapshot of step 3 is kept in "):
        trained(model, callbacks=[at(5, ctrl_c), at(5, ctrl_c)], steps=9, folder=tmp_path)
    assert load_snapshot(tmp_path / "model.safetensors").metadata["step"] == 3
    assert signal.getsignal(signal.SIGINT) is before
    assert not any(module.training for module in model.modules())


def test_in_another_thread_there_is_no_ctrl_c_and_it_trains():
    found = []
    thread = threading.Thread(target=lambda: found.append(trained(steps=3)[1].steps))
    thread.start()
    thread.join()
    assert found == [3]


# ---- what it leaves on disk


def test_the_folder_holds_the_weights_and_a_line_for_each_report(tmp_path):
    model, history = trained(folder=tmp_path / "run", steps=5, validation=(X, Y))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["metrics.jsonl", "model.safetensors"]
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines == history.lines
    copy = linear(seed=9)
    copy.load_state_dict(load_snapshot(tmp_path / "run/model.safetensors").part("model"))
    assert_array_equal(copy.weight.numpy(), model.weight.numpy())


def test_metrics_that_a_crash_left_behind_the_snapshot_are_written_again(tmp_path):
    trained(folder=tmp_path, steps=5)
    whole = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(whole[:20])
    trained(folder=tmp_path, steps=5, resume=True)
    assert (tmp_path / "metrics.jsonl").read_text() == whole


def test_a_finished_run_can_be_given_more_steps(tmp_path):
    whole, history = trained(steps=8, every=2)
    trained(folder=tmp_path, steps=4, every=2)
    model, resumed = trained(folder=tmp_path, steps=8, every=2, resume=True)
    assert_array_equal(model.weight.numpy(), whole.weight.numpy())
    assert resumed.lines == history.lines
    with pytest.raises(ArgumentError, match="steps is 7, and the run has done 8 already"):
        trained(folder=tmp_path, steps=7, every=2, resume=True)


def test_resume_without_a_snapshot_begins(tmp_path):
    assert trained(folder=tmp_path, steps=2, resume=True)[1].steps == 2


def test_a_run_is_not_overwritten(tmp_path):
    trained(folder=tmp_path, steps=2)
    with pytest.raises(ArgumentError, match="holds a run. Go on with it: resume=True"):
        trained(folder=tmp_path, steps=2)


REFUSED = {
    "another architecture": (
        lambda: {"model": nn.Sequential(linear())},
        r"the model has 0.weight of shape \(1, 3\), which the snapshot lacks",
    ),
    "a layer less": (
        lambda: {"model": nn.Linear(3, 1, bias=False, rng=0, dtype="float64")},
        r"the snapshot has bias of shape \(1,\), which the model lacks",
    ),
    "another dtype": (lambda: {"model": linear(dtype="float32")}, r"weight is float32 .* and float64"),
    "another seed": (lambda: {"seed": 3}, "seed is 3 now and was 0"),
    "another batch size": (lambda: {"batch_size": 5}, "batch_size is 5 now and was 4"),
    "other data": (lambda: {"data": (X + 1, Y)}, r"data \(SHA-256\) is"),
    "other clipping": (lambda: {"clip": 1.0}, "clip is 1.0 now and was None"),
    "validation": (lambda: {"validation": (X, Y)}, "validation is True now and was False"),
    "early stopping": (
        lambda: {"validation": (X, Y), "early_stopping": EarlyStopping(1)},
        "early stopping is on now and was off",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_snapshot_of_another_run_is_refused_and_nothing_has_changed(tmp_path, name):
    make, message = REFUSED[name]
    trained(folder=tmp_path, steps=2)
    options = {"model": linear()} | make()
    before = options["model"].state_dict()
    with pytest.raises(SnapshotError, match=f"is one of another run:(.|\n)*{message}"):
        trained(folder=tmp_path, steps=4, resume=True, **options)
    for key, array in options["model"].state_dict().items():
        assert_array_equal(array, before[key])


def test_another_optimiser_and_another_number_of_schedules_are_refused(tmp_path):
    trained(folder=tmp_path, steps=2)
    model = linear()
    with pytest.raises(SnapshotError, match="is one of another run"):
        trained(model, folder=tmp_path, steps=4, resume=True, optimizer=optim.Adam(model))
    optimizer = optim.SGD(model, lr=0.05)
    with pytest.raises(SnapshotError, match="there are 1 schedules now and were 0"):
        trained(model, folder=tmp_path, steps=4, resume=True, optimizer=optimizer,
                schedule=optim.StepDecay(optimizer, 2))  # fmt: skip


DAMAGED = {
    "no step": lambda a, m: m.pop("step"),
    "a negative step": lambda a, m: m.update(step=-1),
    "sums of nothing": lambda a, m: m.update(since={}),
    "sums that are not finite": lambda a, m: m["since"].update(loss=float("inf")),
    "lines of numbers": lambda a, m: m.update(lines=[1]),
    "schedules at another step": lambda a, m: m["schedules"][0].update(steps=7),
    "no generator": lambda a, m: a.update({"generator.augment": np.zeros(3, "uint8")}),
    "a carry of another form": lambda a, m: m.update(carry={"tensor": 5}),
    "best weights of another model": lambda a, m: a.pop("best.weight"),
    "no early stopping": lambda a, m: m["stopping"].pop("waited"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_snapshot_is_refused_and_nothing_has_changed(tmp_path, name):
    def attempt(**options):
        model = linear()
        optimizer = optim.Adam(model, lr=0.05)
        before = model.state_dict(), optimizer.state_dict()["state"]
        try:
            trained(model, folder=tmp_path, validation=(X, Y), early_stopping=EarlyStopping(3), optimizer=optimizer,
                    schedule=optim.StepDecay(optimizer, 2), **options)  # fmt: skip
        finally:
            if options.get("resume"):
                assert_array_equal(model.weight.numpy(), before[0]["weight"])
                assert optimizer.state_dict()["state"].keys() == before[1].keys()

    attempt(steps=3)
    arrays, metadata = load_snapshot(tmp_path / "model.safetensors")
    DAMAGED[name](arrays, metadata)
    save_snapshot(tmp_path / "model.safetensors", arrays, metadata)
    with pytest.raises(SnapshotError, match=r"is damaged|expected the state of a random generator|is one of another"):
        attempt(steps=5, resume=True)


def test_a_snapshot_of_something_else_is_refused(tmp_path):
    save_snapshot(tmp_path / "model.safetensors", {"x": X}, {})
    with pytest.raises(SnapshotError, match="holds a snapshot that fit did not write"):
        trained(folder=tmp_path, steps=2, resume=True)


# ---- what it refuses


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X[:0], Y[:0]), "data's? is empty|data is empty"),
        ((X, Y[:3]), "as many examples in each array, along the first axis; x has 10, y has 3"),
        ((), r"expected arrays \(x, y\); got none"),
        ((np.where(X > 2, np.nan, X) * np.nan, Y), r"data's x holds 30 values that are not finite, the first at index"),
        ((X, np.array(["a"] * 10)), "expected numbers"),
        ((X, 3.0), "got one number"),
        (([[1.0], [1.0, 2.0]], [1, 2]), "is no array"),
    ],
)
def test_data_that_cannot_be_trained_on(data, message):
    with pytest.raises(DataError, match=message):
        trained(data=data)


def test_an_empty_validation_set_is_named():
    with pytest.raises(DataError, match="validation is empty: its arrays have no example; give at least one, or leave"):
        trained(validation=(X[:0], Y[:0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1, "epochs": 1}, "give steps or epochs, one of the two"),
        ({"steps": None}, "give steps or epochs, one of the two"),
        ({"steps": 0}, "steps is a whole number of at least 1; got 0"),
        ({"epochs": 1.5}, "epochs is a whole number of at least 1; got 1.5"),
        ({"epochs": 1, "data": lambda step: (X, Y)}, "does not say how many steps an epoch has"),
        ({"data": 5}, "data is a tuple of arrays"),
        ({"batch_size": 0}, "batch_size is a whole number of at least 1; got 0"),
        ({"every": 0}, "every is a whole number of at least 1; got 0"),
        ({"seed": -1}, "seed is a whole number of at least 0; got -1"),
        ({"seed": True}, "seed is a whole number"),
        ({"clip": 0}, "clip is the largest norm of a gradient, above 0; got 0"),
        ({"clip": float("nan")}, "clip is the largest norm"),
        ({"loss": "mse"}, "loss is a function"),
        ({"loss": lambda model, batch, carry: 1.0}, "must return a Tensor, or"),
        ({"optimizer": "adam"}, r"optimizer is one of tg\.optim"),
        ({"schedule": 3}, "schedule is a Schedule that was made for the optimizer given here"),
        ({"schedule": optim.StepDecay(optim.SGD(linear(), lr=1), 2)}, "made for the optimizer given here"),
        ({"validation": 3}, r"validation is \(x, y\) or a function of the model; got a int"),
        ({"validation": lambda model: "good"}, "validation.model. must return a number"),
        ({"validation": lambda model: {}}, "returned no number"),
        ({"validation": lambda model: {"loss": 1.0}}, "a name of the training's own; rename it"),
        ({"early_stopping": EarlyStopping(1)}, "early stopping watches a validation"),
        ({"early_stopping": 3, "validation": (X, Y)}, r"write early_stopping=EarlyStopping\(patience\); got 3"),
        ({"resume": True}, "give folder= too"),
        ({"model": nn.Dropout(0.5), "optimizer": None}, "fit trains a Module with parameters; got a Dropout without"),
        ({"model": "model", "optimizer": None}, "got a str without"),
        ({"loss": lambda model, batch, carry: (squares(model, batch, None), object())}, "got a object"),
    ],
)
def test_arguments_that_do_not_fit_are_named(options, message):
    with pytest.raises(ArgumentError, match=message):
        trained(**({} if "epochs" in options else {"steps": 1}) | options)


def test_patience_below_one_is_named():
    with pytest.raises(ArgumentError, match="patience counts validations without improvement .* at least 1; got 0"):
        trained(validation=(X, Y), early_stopping=EarlyStopping(0))


def test_a_last_batch_of_one_has_no_variance_for_batch_norm():
    """Ten examples in batches of three leave one over."""
    model = nn.Sequential(nn.BatchNorm(3, dtype="float64"), linear())
    with pytest.raises(ShapeError, match="BatchNorm"):
        trained(model, batch_size=3)
    trained(model, batch_size=5)


def test_an_augmentation_that_drops_examples_is_named():
    with pytest.raises(ShapeError, match="augment must return as many examples as it got"):
        trained(augment=lambda x, rng: x[1:], steps=1)


def test_an_optimiser_of_another_model_is_named():
    model = linear()
    with pytest.raises(ArgumentError, match="another model: 2 of its parameters are not in this"):
        trained(model, optimizer=optim.SGD(linear(), lr=0.1), steps=1)


def test_parameters_without_a_gradient_stay_as_they_are():
    model = linear()
    model.bias = nn.Parameter([7.0], dtype="float64", requires_grad=False)
    trained(model)
    assert model.bias.tolist() == [7.0]


def test_data_of_another_width_and_kind_are_named_by_the_model():
    with pytest.raises(ShapeError, match="Linear"):
        trained(data=(X[:, :2], Y), steps=1)
    with pytest.raises(DTypeError, match="int64"):
        trained(data=(np.ones((4, 3), int), np.ones((4, 1))), steps=1)


@pytest.mark.parametrize("folder", [True, False])
def test_a_run_that_diverges_stops_and_keeps_its_last_good_snapshot(tmp_path, folder):
    with pytest.raises(DataError, match=r"has diverged\. Try a smaller learning rate \(it is 1e\+30\)") as found:
        trained(steps=60, every=1, lr=1e30, folder=tmp_path if folder else None)
    assert ("is kept in" in str(found.value)) == folder
    if folder:
        arrays = load_snapshot(tmp_path / "model.safetensors").arrays
        assert all(np.isfinite(array).all() for array in arrays.values())
