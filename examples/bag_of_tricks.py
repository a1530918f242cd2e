"""Measure each regulariser of the bag of tricks, alone and together, on a hundred handwritten digits.

"How can we train a model that's complex enough to model the structure in the data, but prevent it from overfitting?"
By data augmentation, fewer parameters, weight decay, early stopping, ensembles, stochastic regularisation. [Slides 4-23
of lecture 7 of CSC413, Jimmy Ba] Each is put into one network (64 - 128 - 128 - 10) over 5 seeds, which choose the 100
images of scikit-learn's digits to train on and all that is random. A fifth of their labels are drawn by lot, so that
learning by heart does harm; the test is on 1,000 others with the right ones, and early stopping may see 100 more.

Dropout on a linear model is an adaptive weight decay (slide 21). With inputs of mean zero, half of them dropped,

    ỹ = 2 Σ_j m_j w_j x_j,  m ~ Bern(0.5)          E_m[J] = 1/2N Σ_i (y_i - t_i)² + 1/2 Σ_j Var[x_j] w_j²

which is checked, values and gradients, by going through all masks.
"""

import itertools

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim
from tinygrad_rnn.data import augmentation
from tinygrad_rnn.training import EarlyStopping, Ensemble, fit

MOVES = augmentation.Compose([augmentation.Rotate(10.0), augmentation.Warp(0.3, 1.5), augmentation.Noise(0.2)])
TRICKS = {
    "none": {},
    "data augmentation": {"augment": MOVES},
    "fewer parameters": {"width": 12},
    "weight decay": {"decay": 3.0},
    "L1 penalty": {"l1": 1e-3},
    "early stopping": {"early": True},
    "ensemble of 5 seeds": {"members": 5},
    "bagging, 5 samples": {"members": 5, "bagging": True},
    "dropout": {"dropout": 0.5},
    "batch normalisation": {"norm": True},
    "small batches": {"batch_size": 5},
}
TOGETHER = {"augment": MOVES, "decay": 1.0, "early": True, "dropout": 0.3, "members": 5, "norm": True}


def main(run: gallery.Run) -> None:
    """Check the equation, measure the tricks, draw the errors."""
    adaptive_weight_decay(run)
    seeds = range(run.seed, run.seed + (2 if run.quick else 5))
    one = {**TOGETHER, "members": 1}
    tried = {"none": {}, "all together": one} if run.quick else {**TRICKS, "all together": TOGETHER}
    measured = {name: measure(run, seeds, **options) for name, options in tried.items()}
    plain, both = measured["none"][:, 1], measured["all together"][:, 1]
    run.say(f"{'':<22}errors in training and test, means over {len(seeds)} seeds; the gain over no trick")
    for name, errors in measured.items():
        train, test = errors.mean(0)
        spread = (plain - errors[:, 1]).std(ddof=1) / len(seeds) ** 0.5
        run.say(f"{name:<22}{train:6.1%}  {test:6.1%}   {plain.mean() - test:+6.1%} ± {spread:.1%}")
    better = (both < plain).sum()
    run.expect("seeds where all together beat none", expected=f"{len(seeds)}", got=f"{better}", ok=better == len(seeds))
    counts, widths = ((30, 300), (2, 64)) if run.quick else ((20, 50, 100, 200, 600), (2, 4, 8, 16, 32, 64, 128, 256))
    by_count = {
        name: [measure(run, seeds, count=n, **options) for n in counts]
        for name, options in (("no trick", {}), ("tricks, one network", one))
    }
    by_width = [measure(run, seeds, width=width) for width in widths]
    few, *_, many = (errors[:, 1].mean() for errors in by_count["no trick"])
    run.expect("test error with more examples", expected="falls", got=f"{few:.1%} to {many:.1%}", ok=many < few)
    draw(run, measured, counts, by_count, [(76 + width) * width + 10 for width in widths], by_width)


def adaptive_weight_decay(run: gallery.Run) -> None:
    """Compare the mean over all 2**8 masks with the penalty."""
    x, t, w = (tg.tensor(run.rng.standard_normal(shape)) for shape in ((20, 8), (20,), (8,)))
    x = x - tg.mean(x, axis=0)
    masks = tg.tensor(np.array(list(itertools.product((0.0, 1.0), repeat=8))))[:, None, :]

    def dropped(w):
        return tg.mean((2 * (masks * x) @ w - t) ** 2) / 2

    def right_side(w):
        return tg.mean((x @ w - t) ** 2) / 2 + tg.sum(tg.var(x, axis=0) * w**2) / 2

    (value, gradient), (other, slope) = (tg.value_and_grad(f)(w) for f in (dropped, right_side))
    for what, one, two in (("E[J]", value, other), ("its gradient", gradient, slope)):
        gap = float(abs((one - two).numpy()).max() / abs(one.numpy()).max())
        told = f"{what}, mean over all 256 masks and the right side: relative difference"
        run.expect(told, expected="below 1e-14", got=f"{gap:.1e}", ok=gap < 1e-14)


def measure(run: gallery.Run, seeds: range, count: int = 100, **options: object) -> np.ndarray:
    """Errors in training and in the test for each seed, (seeds, 2)."""
    errors = []
    for seed in seeds:
        train, validation, test = digits(seed, count)
        model = trained(run, train, validation, seed, **options)
        errors.append([(model.predict(tg.tensor(x)).numpy().argmax(1) != y).mean() for x, y in (train, test)])
    return np.array(errors)


def trained(run, train, validation, seed, *, width=128, dropout=0.0, norm=False, members=1, bagging=False, l1=0.0,
            decay=0.0, early=False, augment=None, batch_size=20) -> Ensemble:  # fmt: skip
    """Train the network, or several, with the tricks that are asked for."""

    def build(seed):
        rng, parts = np.random.default_rng(seed), [lambda x: tg.reshape(x, (x.shape[0], 64))]
        for size in (64, width):
            parts += [nn.Linear(size, width, rng=rng)] + [nn.BatchNorm(width)] * norm
            parts += [tg.relu, nn.Dropout(dropout, rng=rng)]
        return nn.Sequential(*parts, nn.Linear(width, 10, rng=rng))

    def loss(model, batch, carry):
        value = tg.cross_entropy(model(batch[0]), batch[1])
        return value + nn.l1_penalty(model, l1) if l1 and model.training else value

    def train_one(model, data, seed):
        watch = {"validation": validation, "early_stopping": EarlyStopping(8), "every": 20} if early else {}
        fit(model, data, loss=loss, optimizer=optim.AdamW(model, lr=3e-3, weight_decay=decay), batch_size=batch_size,
            steps=100 if run.quick else 300, seed=seed, augment=augment, progress=False, **watch)  # fmt: skip

    seeds = range(100 * seed, 100 * seed + members)
    if bagging:
        return Ensemble.bagged(build, train_one, train, seeds, tg.softmax)
    return Ensemble.from_seeds(build, lambda model, seed: train_one(model, train, seed), seeds, tg.softmax)


def digits(seed: int, count: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Images and labels to train on, 100 for early stopping, and 1,000 for the test."""
    from sklearn.datasets import load_digits

    data, rng = load_digits(), np.random.default_rng(seed)
    order = rng.permutation(len(data.target))
    parts = order[1100 : 1100 + count], order[:100], order[100:1100]
    wrong = rng.random(len(order)) < 0.2
    wrong[order[100:1100]] = False
    labels = np.where(wrong, rng.integers(10, size=len(order)), data.target)
    return tuple(((data.images[part] / 16).astype("float32"), labels[part]) for part in parts)


def draw(run, measured, counts, by_count, sizes, by_width) -> None:
    """Bars for the tricks; errors against examples and against parameters, as on slide 4."""
    figure = run.figure("The bag of tricks on handwritten digits", width=11, height=4.2)
    bars, examples, size = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    names = list(measured)[::-1]
    tests = 100 * np.array([measured[name] for name in names])[..., 1]
    bars.barh(names, tests.mean(1), xerr=tests.std(1, ddof=1), color="0.85", edgecolor="0.2", capsize=2)
    bars.axvline(100 * measured["none"][:, 1].mean(), color="0.2", linewidth=1, linestyle="--")
    bars.set(title="100 examples", xlabel="test error, % (mean and deviation of the seeds)")
    for i, (name, found) in enumerate(by_count.items()):
        plot(run, examples, counts, found, 2 * i, name)
    plot(run, size, sizes, by_width, 0, "no trick")
    for ax, what, ticks in ((examples, "examples", counts), (size, "parameters", sizes[::2])):
        ax.set(title=f"Number of {what}", xlabel=what, xscale="log", ylabel="error, %", ylim=(0, 100))
        ax.set_xticks(ticks, ticks)
        ax.set_xticks([], minor=True)
    examples.legend()
    run.save(figure)


def plot(run, ax, at, found, style, name) -> None:
    """Means over the seeds in training and in the test, and the spread of the latter."""
    train, test = 100 * np.moveaxis(found, 2, 0)
    ax.plot(at, train.mean(1), label=f"training, {name}", **run.style(style + 1, markers=True))
    ax.plot(at, test.mean(1), label=f"test, {name}", **run.style(style, markers=True))
    ax.fill_between(at, test.min(1), test.max(1), color=run.style(style)["color"], alpha=0.15, linewidth=0)


if __name__ == "__main__":
    gallery.start(main)
