"""Leak and spectral radius tuned by gradient: the validation error differentiated through readout and reservoir.

    h_t = (1 - a) h_{t-1} + a tanh(r W h_{t-1} / ρ(W) + W_in u_t + b)                  reservoir, for t = 1 .. T
    V(a, r) = argmin ‖Y - H V‖² + λ ‖V‖²                                     readout, solved on the first steps
    E(a, r) = log10 of the mean of (y_t - V h_t)² over the steps after, divided by the variance of y

∂E/∂(a, r) goes back through the error, the solve and 1,500 steps of the reservoir. Adam follows it from a bad start;
the map below it is made of one evaluation a pixel. The task is the Mackey-Glass series, 30 steps ahead.

Sources: hyperparameters by the gradient of a validation error, through the solve: Bengio 2000, "Gradient-based
optimization of hyperparameters", Neural Computation 12. Leak and radius of reservoirs by forward gradients, without the
derivative of the solve: Jaeger, Lukoševičius, Popovici & Siewert 2007, Neural Networks 20.
"""

from __future__ import annotations

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import data, esn, gallery, optim

AHEAD, WASHOUT, RIDGE = 30, 100, 1e-6
NAMES = ("leak", "spectral_radius")
START = (0.9, 0.4)
BOUNDS = ((0.02, 1.0), (0.05, 1.6))


def validation(reservoir: esn.Reservoir, x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    """E: fitted on the first two thirds, measured on the last."""
    states, _ = reservoir.run(x)
    cut = 2 * len(x) // 3
    weights, intercept = esn.ridge(states[WASHOUT:cut], y[WASHOUT:cut], RIDGE)
    miss = states[cut:] @ weights + intercept - y[cut:]
    return tg.log(tg.mean(miss * miss) / tg.var(y[cut:])) / np.log(10)


def place(reservoir: esn.Reservoir, leak: float, radius: float) -> None:
    """Set both numbers."""
    for name, value in zip(NAMES, (leak, radius)):
        getattr(reservoir, name).assign(np.array(value))


def gradient(reservoir: esn.Reservoir, x: tg.Tensor, y: tg.Tensor) -> tuple[float, np.ndarray]:
    """E and its gradient by both numbers."""
    with tg.Tape() as tape:
        error = validation(reservoir, x, y)
    parts = tape.gradient(error, [getattr(reservoir, name) for name in NAMES])
    return error.item(), np.array([part.item() for part in parts])


def by_differences(reservoir: esn.Reservoir, x: tg.Tensor, y: tg.Tensor, step: float = 1e-5) -> np.ndarray:
    """The same by central differences."""
    found = []
    for k in range(2):
        values = []
        for sign in (step, -step):
            at = np.array(START)
            at[k] += sign
            place(reservoir, *at)
            values.append(validation(reservoir, x, y).item())
        found.append((values[0] - values[1]) / (2 * step))
    place(reservoir, *START)
    return np.array(found)


def main(run: gallery.Run) -> None:
    """Check the gradient, descend, and draw the path on the map of the error."""
    steps, length, units, pixels = (15, 400, 20, 6) if run.quick else (120, 1500, 50, 28)
    series = data.mackey_glass(length + AHEAD, seed=run.seed) - 0.9
    x, y = tg.tensor(series[:-AHEAD]), tg.tensor(series[AHEAD:])
    reservoir = esn.Reservoir(
        1, units, connectivity=1.0, bias_scaling=0.2, leak=START[0], spectral_radius=START[1], trainable=NAMES,
        rng=run.seed, dtype="float64",
    )  # fmt: skip

    first, slope = gradient(reservoir, x, y)
    gap = float(np.abs(slope - by_differences(reservoir, x, y)).max() / np.abs(slope).max())
    run.expect("gradient beside differences", expected="< 1e-5", got=f"{gap:.0e}", ok=gap < 1e-5)

    adam = optim.Adam(reservoir.parameters(), lr=0.05 if run.quick else 0.03)
    path = [(*START, first)]
    for _ in range(steps):
        adam.zero_grad()
        with tg.Tape():
            validation(reservoir, x, y).backward()
        adam.step()
        at = [float(np.clip(getattr(reservoir, name).item(), *bounds)) for name, bounds in zip(NAMES, BOUNDS)]
        place(reservoir, *at)
        path.append((at[0], at[1], validation(reservoir, x, y).item()))
    best = min(path, key=lambda each: each[2])
    run.say(f"start: leak {START[0]:.2f}, spectral radius {START[1]:.2f}, NMSE {10**first:.1e}")
    run.say(f"found: leak {best[0]:.2f}, spectral radius {best[1]:.2f}, NMSE {10 ** best[2]:.1e}, after {steps} steps")

    leaks, radii = (np.linspace(low, high, pixels) for low, high in BOUNDS)
    errors = np.empty((pixels, pixels))
    for i, radius in enumerate(radii):
        for j, leak in enumerate(leaks):
            place(reservoir, leak, radius)
            errors[i, j] = validation(reservoir, x, y).item()
    better = first - best[2]
    goal = 0.3 if run.quick else 1.0
    run.expect("orders of magnitude gained", expected=f"> {goal}", got=f"{better:.1f}", ok=better > goal)
    rank = float(np.mean(errors < best[2]))
    limit = 0.3 if run.quick else 0.02
    run.expect("pixels that are better", expected=f"< {limit:.0%}", got=f"{rank:.1%}", ok=rank < limit)
    picture(run, path, leaks, radii, errors)


def picture(run: gallery.Run, path: list, leaks: np.ndarray, radii: np.ndarray, errors: np.ndarray) -> None:
    """The map with the path, and the error along it."""
    figure = run.figure("Two numbers of a reservoir, tuned by gradient", width=8, height=3.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    levels = np.linspace(np.floor(errors.min()), 0.0, 13)  # what is worse than the mean is white
    shades = left.contourf(leaks, radii, errors, levels, cmap="Greys_r", extend="max")
    figure.colorbar(shades, ax=left, label="log10 of the validation NMSE")
    a, r, e = np.array(path).T
    left.plot(a, r, color=gallery.COLORS[1], marker=".", label="Adam")
    left.plot(a[0], r[0], "s", color=gallery.COLORS[1], markersize=7, markeredgecolor="white", label="start")
    left.plot(a[-1], r[-1], "*", color=gallery.COLORS[1], markersize=12, markeredgecolor="white", label="end")
    left.set(xlabel="leak a", ylabel="spectral radius r", xlim=BOUNDS[0], ylim=BOUNDS[1])
    left.legend(loc="upper left", frameon=True)
    right.plot(e, label="Adam", **run.style(1))
    right.axhline(errors.min(), color="0.4", linestyle=(0, (2, 2)), label="best pixel of the map")
    right.set(xlabel="gradient steps", ylabel="log10 of the validation NMSE")
    right.legend()
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
