"""Why gradients explode or vanish: products of Jacobians, and the attractors of an iterated map.

A linear recurrence h(t) = w h(t-1) multiplies the derivative by w at every step:

    ∂h(T)/∂h(1) = w^(T-1)

The slide states 117.4 for w = 1.1 and 0.00515 for w = 0.9 at T = 50. Those are products of 50 factors, w^50; T - 1 is
49 and gives 106.7 and 0.00573, so the slide counts one factor more than its formula. With matrices the Jacobians
multiply, and the singular values of the product take the place of |w|^n:

    ∂h(T)/∂h(1) = ∂h(T)/∂h(T-1) ... ∂h(2)/∂h(1)

With nonlinear units the derivative depends on where the state is. The map f(x) = 3.5 x (1 - x), iterated, comes to a
cycle of four points: small changes of the start mostly change nothing in the end, and at the borders between the
basins everything.

Source: J. Ba, CSC413/2516, lecture 7, slides 44 to 47.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery

FACTORS = 50
CYCLE = (0.38282, 0.50088, 0.82694, 0.87500)  # of 3.5 x (1 - x): May 1976, Nature 261


def product(w: float) -> float:
    """∂h(T)/∂h(1) of the linear recurrence, from the tape."""
    start = tg.tensor(1.0, dtype="float64")
    with tg.Tape() as tape:
        h = start
        for _ in range(FACTORS):
            h = w * h
    return tape.gradient(h, start).item()


def iterate(starts: np.ndarray, times: int) -> tuple[np.ndarray, np.ndarray]:
    """f iterated from many starts, and the derivative of each end by its start."""
    x = tg.tensor(starts)
    with tg.Tape() as tape:
        y = x
        for _ in range(times):
            y = 3.5 * y * (1.0 - y)
        total = tg.sum(y)  # every start stands alone, so the gradient of the sum is each one's derivative
    return y.numpy(), tape.gradient(total, x).numpy()


def main(run: gallery.Run) -> None:
    """The slide's two numbers, matrices, and the iterated map."""
    for w, text, stated in ((1.1, "117.4", 117.4), (0.9, "0.00515", 0.00515)):
        found = product(w)
        run.expect(f"∂h(T)/∂h(1), w = {w}, {FACTORS} factors", expected=text, got=f"{found:.4g}",
                   ok=abs(found - stated) <= 0.001 * stated)  # fmt: skip
        run.say(f"    with T - 1 = {FACTORS - 1} factors it is {w ** (FACTORS - 1):.4g}")

    size, radii = 40, (1.1, 1.0, 0.9)
    draw = run.rng.normal(size=(size, size))
    rotation = np.linalg.qr(draw)[0]
    growth = {}
    for radius in radii:
        dense = draw * (radius / np.max(np.abs(np.linalg.eigvals(draw))))
        kinds = {"orthogonal": radius * rotation, "random": dense}
        for kind, matrix in kinds.items():
            state = np.eye(size)
            sizes = []
            for _ in range(FACTORS):
                state = matrix @ state
                sizes.append(np.linalg.svd(state, compute_uv=False)[[0, -1]])
            growth[kind, radius] = np.array(sizes)
    ends = [growth["orthogonal", radius][-1] for radius in radii]
    worst = max(np.max(np.abs(end / radius**FACTORS - 1)) for end, radius in zip(ends, radii))
    run.expect("orthogonal matrix times w: singular values of the product, off w^50 by", expected="round-off",
               got=f"{worst:.0e}", ok=worst < 1e-10)  # fmt: skip

    starts = np.linspace(0.001, 0.999, 4001)
    x, slope = iterate(starts, 200)
    distance = max(np.min(np.abs(x[:, None] - np.array(CYCLE)), axis=1))
    run.expect("f(x) = 3.5 x (1 - x): attractors", expected=str(CYCLE)[1:-1],
               got=", ".join(f"{v:.5f}" for v in np.unique(np.round(x, 5))[:8]), ok=distance < 2e-5)  # fmt: skip
    steep, flat = np.mean(np.abs(slope) > 1), np.mean(np.abs(slope) < 1e-10)
    run.say(f"of {len(starts)} starts, {flat:.1%} have a derivative below 1e-10 after 200 steps, {steep:.1%} above 1")

    figure = run.figure("Products of Jacobians explode or vanish", width=11, height=3.8)
    left, middle, right = figure.subplots(1, 3)
    n = np.arange(1, FACTORS + 1)
    for i, w in enumerate(radii):
        left.semilogy(n, w**n, **run.style(i), label=f"w = {w}")
    left.set(title="one unit", xlabel="factors", ylabel=r"$\partial h(T)/\partial h(1)$")
    left.legend()
    for i, radius in enumerate(radii):
        sizes = growth["random", radius]
        middle.semilogy(n, sizes[:, 0], **run.style(i), label=f"spectral radius {radius}: largest")
        sure = sizes[:, 1] > 1e-14 * sizes[:, 0]  # below that it is round-off
        middle.semilogy(n[sure], sizes[sure, 1], **{**run.style(i), "linewidth": 0.8})
    middle.set(title=f"{size} units, random matrix", xlabel="factors",
               ylabel="largest (thick), smallest singular value", ylim=(1e-15, 1e5))  # fmt: skip
    middle.legend(fontsize=8, loc="center right")
    few, _ = iterate(starts, 6)
    right.plot(starts, few, **run.style(0), label="after 6 iterations")
    right.plot(starts, x, ".", color=gallery.COLORS[1], markersize=1.2, label="after 200")
    right.set(title="f(x) = 3.5 x (1 − x), iterated", xlabel="start $x$", ylabel="end", ylim=(0, 1.18))
    right.legend(markerscale=6, loc="upper center", ncols=2)
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
