"""The cliff in the error surface of a recurrent unit, and descent with and without clipping the gradient.

    x(t) = w σ(x(t-1)) + b,    x(0) = 0.5,    E = (σ(x(50)) - 0.7)²

Where the surface turns steep the gradient explodes, and one step along it throws the parameters far away. Clipping
keeps the direction and bounds the length:

    if ‖g‖ > η:   g ← η g / ‖g‖

Source: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks", figure 6 and
algorithm 1, arXiv:1211.5063; J. Ba, CSC413/2516, lecture 7, slide 48.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, optim

STEPS = 50
TARGET = 0.7
W, B = (4.4, 7.2), (-3.4, -1.6)  # the part of the plane that is shown
RATE, THRESHOLD = 0.15, 0.1
BEGIN = (6.6, -2.55)


def loss(w: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
    """E at every pair of the arrays w and b."""
    x = tg.full_like(w, 0.5)
    for _ in range(STEPS):
        x = w * tg.sigmoid(x) + b
    return (tg.sigmoid(x) - TARGET) ** 2


def surface(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The error and the gradient's norm over a grid."""
    w, b = np.meshgrid(np.linspace(*W, count), np.linspace(*B, count))
    w_tensor, b_tensor = tg.tensor(w), tg.tensor(b)
    with tg.Tape() as tape:
        error = loss(w_tensor, b_tensor)
        total = tg.sum(error)
    g_w, g_b = (g.numpy() for g in tape.gradient(total, [w_tensor, b_tensor]))
    return w, b, error.numpy(), np.hypot(g_w, g_b)


def descend(clipped: bool, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Gradient descent from BEGIN: the path (steps + 1, 2), and the error along it."""
    place = [tg.Parameter(np.array(value)) for value in BEGIN]
    optimizer = optim.SGD(place, lr=RATE)
    path, errors = [BEGIN], []
    for _ in range(steps):
        with tg.Tape():
            error = loss(*place)
            error.backward()
        if clipped:
            optim.clip_grad_norm(place, THRESHOLD)
        optimizer.step()
        optimizer.zero_grad()
        errors.append(error.item())
        path.append(tuple(p.item() for p in place))
    return np.array(path), np.array([*errors, loss(*place).item()])


def main(run: gallery.Run) -> None:
    """Draw the surface, and go down it twice."""
    steps = 1000
    w, b, error, slope = surface(60 if run.quick else 220)
    run.say(f"gradient's norm over the picture: median {np.median(slope):.2g}, largest {slope.max():.2g}")
    paths = {}
    for clipped in (False, True):
        path, errors = descend(clipped, steps)
        paths[clipped] = path, errors
        jumps = np.linalg.norm(np.diff(path, axis=0), axis=1)
        run.say(f"{'clipped' if clipped else 'unclipped'}: longest step {jumps.max():.3g}, last error {errors[-1]:.2g}")
    path, _ = paths[False]
    outside = np.any((path < [W[0], B[0]]) | (path > [W[1], B[1]]), axis=1)
    run.expect("descent without clipping", expected="leaves the picture",
               got=f"leaves it at step {outside.argmax()}" if outside.any() else "stays inside",
               ok=outside.any())  # fmt: skip
    path, errors = paths[True]
    inside = np.all((path >= [W[0], B[0]]) & (path <= [W[1], B[1]]))
    run.expect("descent with clipping", expected="reaches the minimum (error below 1e-4)",
               got=f"error {errors[-1]:.1e}", ok=bool(inside) and errors[-1] < 1e-4)  # fmt: skip

    figure = run.figure("The error surface of one recurrent unit over 50 steps", width=11, height=4.6)
    left, right = figure.subplots(1, 2)
    image = left.pcolormesh(w, b, error, cmap="cividis", shading="auto", rasterized=True)
    figure.colorbar(image, ax=left, label="error $E$")
    for clipped, (path, _) in paths.items():
        style = {"color": "white", "linestyle": "-"} if clipped else {"color": "#ff6b6b", "linestyle": "--"}
        label = "clipped at norm 0.1" if clipped else "not clipped"
        left.plot(path[:, 0], path[:, 1], ".", markersize=3, label=label, **style)
    left.plot(*BEGIN, "o", color="white", markeredgecolor="black", markersize=7)
    left.annotate("start", BEGIN, xytext=(6, 6), textcoords="offset points", color="white")
    left.set(title="two descents", xlabel="recurrent weight $w$", ylabel="bias $b$", xlim=W, ylim=B)
    left.legend(loc="upper right", labelcolor="white")
    image = right.pcolormesh(w, b, np.log10(np.maximum(slope, 1e-12)), cmap="cividis", shading="auto", rasterized=True)
    figure.colorbar(image, ax=right, label=r"$\log_{10}\,\Vert\nabla E\Vert$")
    right.set(title="the cliff: norm of the gradient", xlabel="recurrent weight $w$", ylabel="bias $b$")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
