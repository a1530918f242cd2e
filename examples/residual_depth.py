"""Train plain and residual networks of 2 to 200 layers on handwritten digits and on two spirals.

A residual block computes z = W(1)x + b(1), h = φ(z), y = x + W(2)h + b(2). Backwards, with x̄ for the derivative of the
loss with respect to x and F for what is added to x,

    x̄(l) = x̄(l+1) (I + ∂F/∂x)                 ∂h(T)/∂h(1) = (I + ∂F/∂h(T-1)) ... (I + ∂F/∂h(1))

so that the derivative passes through unchanged where F = 0, and stays stable while ∂F/∂x is small. Without "x +" the
product is that of the ∂F/∂h alone, which vanishes with depth. ["Deep Residual Networks", slides 54-57 of lecture 7 of
CSC413, Jimmy Ba; He, Zhang, Ren & Sun 2016, "Deep residual learning for image recognition"]

The two networks have the same layers and the same initial values but W(2) = 0 in the residual one. The plain one also
starts, on the digits, from He's values (He et al. 2015), which keep the size of what runs through it.
Digits: scikit-learn's 1,797 real images of 8 × 8, 450 of them kept for the test; noise is added to those trained on.
Spirals: 2 × 97 points [Lang & Witbrock 1988]; the test is on the points halfway between them.
"""

import time

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim
from tinygrad_rnn.data import augmentation
from tinygrad_rnn.training import fit
from tinygrad_rnn.training.metrics import evaluating

KINDS = ("residual", "plain", "plain, He's initial values")
DIGITS, SPIRALS = "digits", "two spirals"


def main(run: gallery.Run) -> None:
    """Train every network, and compare."""
    begun = time.perf_counter()
    depths, deep = ((2, 30), 30) if run.quick else ((2, 6, 20, 50, 100, 200), 100)
    data = {DIGITS: digits(run.seed)} if run.quick else {DIGITS: digits(run.seed), SPIRALS: spirals()}
    found = {}
    run.say("gradient of the first layer and largest singular value before training (after it); accuracy")
    for name, kind, depth in ((n, k, d) for n in data for k in KINDS[: 3 if n == DIGITS else 2] for d in depths):
        found[name, kind, depth] = result = trained(run, name, data[name], kind, depth)
        run.say(
            f"{name:<11}  {kind:<26} {depth:>4} layers   {result['gradient']:7.1e}   {result['largest']:7.1e} "
            f"({result['after']:7.1e})   training {result['training']:6.1%}, test {result['test']:6.1%}"
        )
    residual, plain, he = (found[DIGITS, kind, deep] for kind in KINDS)
    least = 0.8 if run.quick else 0.97
    for what, expected, got, ok in (
        ("plain: largest singular value", "vanishes", f"{plain['largest']:.1e}", plain["largest"] < 1e-6),
        ("residual: the same", "1, as F = 0", f"{residual['largest']:.6f}", residual["largest"] == 1),
        ("plain: accuracy in training", "fails, near 10%", f"{plain['training']:.1%}", plain["training"] < 0.2),
        ("plain, He: accuracy in training", "fails, below 90%", f"{he['training']:.1%}", he["training"] < 0.9),
        ("residual: test accuracy", f"at least {least:.0%}", f"{residual['test']:.1%}", residual["test"] >= least),
    ):
        run.expect(f"{deep} layers, {what}", expected=expected, got=got, ok=ok)
    run.say(f"trained {len(found)} networks in {time.perf_counter() - begun:.0f} s")
    draw(run, found, depths)


def trained(run: gallery.Run, name: str, data: tuple, kind: str, depth: int) -> dict[str, float]:
    """Make a network of so many layers between its first and its last; look at its derivatives, and train it."""
    x, y, held_out, labels = data
    width, steps = (24, 100) if run.quick else (48, 440) if name == DIGITS else (32, 400)
    shape = {"width": width, "blocks": depth // 2, "residual": kind == "residual"}
    model = nn.ResidualMLP(x.shape[1], int(y.max()) + 1, rng=run.seed, **shape)
    if kind == KINDS[2]:
        he(model, np.random.default_rng(run.seed))
    some = slice(None, None, len(x) // 32)
    gradient, largest = derivatives(model, x[some], y[some])
    optimizer = optim.AdamW(model, lr=2e-3, weight_decay=0.1 if name == DIGITS else 0.01)
    fit(
        model, (x, y), loss=cross_entropy, optimizer=optimizer, steps=steps, clip=1.0, seed=run.seed, progress=False,
        batch_size=64 if name == DIGITS else len(x), augment=augmentation.Noise(0.2) if name == DIGITS else None,
        schedule=optim.CosineDecay(optimizer, steps, warmup_steps=steps // 10),
    )  # fmt: skip
    after = derivatives(model, x[some], y[some])[1]
    accuracies = {"training": accuracy(model, x, y), "test": accuracy(model, held_out, labels)}
    return {"gradient": gradient, "largest": largest, "after": after, **accuracies}


def cross_entropy(model: nn.Module, batch: tuple, carry: None) -> tg.Tensor:
    """The mean over a batch."""
    return tg.cross_entropy(model(batch[0]), batch[1])


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """The share of the examples that the model has right."""
    with evaluating(model):
        return float((model(tg.tensor(x)).numpy().argmax(1) == y).mean())


def he(model: nn.Module, rng: np.random.Generator) -> None:
    """Normal weights of variance 2 / fan_in, and no biases."""
    for parameter in model.parameters():
        shape, dtype = parameter.shape, parameter.dtype
        parameter.assign(nn.init.he_normal(shape, rng, dtype=dtype) if len(shape) == 2 else np.zeros(shape, dtype))


def derivatives(model: nn.Sequential, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Norm of the loss's gradient in the first layer, and largest singular value of ∂h(T)/∂h(1), in float64."""
    model = model.copy().astype("float64")
    x, labels = tg.tensor(x.astype("float64")), tg.tensor(y)
    flow = tg.inspect.gradient_flow(model, x, lambda out: tg.cross_entropy(out, labels))
    blocks = nn.Sequential(nn.Sequential(*list(model)[1:-1]))
    values = tg.inspect.jacobian_spectrum(blocks, model[0](x[:4])).end_to_end
    return flow.parameters["first.weight"], float(values.max())


def digits(seed: int) -> tuple[np.ndarray, ...]:
    """Images and labels to train on, and to test on, a quarter of each class."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    x, held_out, y, classes = train_test_split(images, labels, test_size=450, random_state=seed, stratify=labels)
    return x, y, held_out, classes


def spirals() -> tuple[np.ndarray, ...]:
    """Points and arms to train on, and to test on: three turns, the radius falling from 2 to 0.15."""
    made = []
    for k in (np.arange(97.0), np.arange(97) + 0.5):
        angle, radius = k * np.pi / 16, 2 * (104 - k) / 104
        arm = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1).astype("float32")
        made += [np.concatenate([arm, -arm]), np.repeat([0, 1], 97)]
    return tuple(made)


def draw(run: gallery.Run, found: dict, depths: tuple) -> None:
    """Gradients and singular values of the digits' networks, and accuracy on both data sets, against depth."""
    figure = run.figure("Plain and residual networks against depth", width=9, height=6.4)
    (gradients, values), (left, right) = figure.subplots(2, 2)
    for i, kind in enumerate(KINDS):
        for ax, name, key, unit in (
            (gradients, DIGITS, "gradient", 1), (values, DIGITS, "largest", 1), (left, DIGITS, "test", 100),
            (right, SPIRALS, "test", 100),
        ):  # fmt: skip
            if (name, kind, depths[0]) in found:
                line = [unit * found[name, kind, depth][key] for depth in depths]
                ax.plot(depths, line, label=kind, **run.style(i, markers=True))
    after = [found[DIGITS, KINDS[0], depth]["after"] for depth in depths]
    values.plot(depths, after, label="residual, after training", **run.style(3, markers=True))
    gradients.set(title="Digits: gradient of the first layer", yscale="log", ylabel="norm before training")
    values.set(title="Digits: largest singular value of ∂h(T)/∂h(1)", yscale="log", ylabel="before training")
    for ax, title, chance in ((left, "Digits", 10), (right, "Two spirals", 50)):
        ax.set(title=f"{title}: after training", ylabel="accuracy in the test, %", ylim=(0, 103))
        ax.axhline(chance, color="0.6", linewidth=1)
        ax.annotate("chance", (depths[0], chance), va="top", color="0.4", xytext=(0, -2), textcoords="offset points")
    for ax in (gradients, values, left, right):
        ax.set(xscale="log", xlabel="layers", xticks=depths, xticklabels=depths)
        ax.minorticks_off()
    values.legend(loc="lower left")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
