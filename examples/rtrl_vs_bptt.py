"""RTRL and BPTT on one network: the same gradient, paid for differently.

Both sum the same products of derivatives, from the two ends:

    backward    λ_t = q_t + λ_{t+1} D_{t+1},    dL/dθ = Σ_t λ_t I_t        p a step; all n T states are kept
    forward     J_t = D_t J_{t-1} + I_t,        dL/dθ = Σ_t q_t J_t        n² p a step; n p numbers are kept

s: the state, n numbers; θ: the parameters, p ≈ n² numbers; D_t = ∂s_t/∂s_{t-1}, I_t = ∂s_t/∂θ within step t,
q_t = ∂ℓ_t/∂s_t. So the time of a step grows as n⁴ and as n², and memory as n³ and as T.

Source: R. J. Williams and D. Zipser, "A learning algorithm for continually running fully recurrent neural networks",
Neural Computation 1 (1989); P. J. Werbos, "Backpropagation through time", Proc. IEEE 78 (1990).
"""

from __future__ import annotations

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, gradients, rnn

RULES = (gradients.RTRL(), gradients.BPTT())
UNITS = 12
CELLS = {
    "Elman": lambda rng: rnn.ElmanCell(4, UNITS, rng=rng, dtype="float64"),
    "GRU": lambda rng: rnn.GRUCell(4, UNITS, rng=rng, dtype="float64"),
    "LSTM": lambda rng: rnn.LSTMCell(4, UNITS, rng=rng, dtype="float64"),
    "Elman on GRU": lambda rng: rnn.StackedCell(
        [rnn.GRUCell(4, 8, rng=rng, dtype="float64"), rnn.ElmanCell(8, UNITS, rng=rng, dtype="float64")]
    ),
}


def differences(cell, xs, targets) -> tuple[np.ndarray, float]:
    """How far the two gradients of the loss of each step alone are apart, and those of the sum over all steps."""

    def loss(y, t):
        return 0.5 * tg.sum((y - targets[t]) ** 2)

    learner, found = gradients.RTRL().start(cell, xs.shape[1]), []
    for t in range(xs.shape[0]):
        step = learner.step(xs[t], loss)
        exact = gradients.BPTT().gradient(cell, xs[: t + 1], lambda y, k, last=t: loss(y, k) * float(k == last))
        found.append(relative(step.gradients, exact.gradients))
    forward, backward = [rule.gradient(cell, xs, loss).gradients for rule in RULES]
    return np.array(found), relative(forward, backward)


def relative(found, exact) -> float:
    """Largest difference over the largest gradient."""
    scale = max(np.abs(g.numpy()).max() for g in exact.values())
    return max(np.abs(found[name].numpy() - g.numpy()).max() for name, g in exact.items()) / scale


def slope(sizes: list[int], values: list[float]) -> float:
    """The exponent of a power law, from the two largest sizes."""
    return float(np.log(values[-1] / values[-2]) / np.log(sizes[-1] / sizes[-2]))


def main(run: gallery.Run) -> None:
    """Show the equality, the cost and the memory, in one picture."""
    steps = 8 if run.quick else 60
    figure = run.figure("RTRL and BPTT: one gradient, two prices", width=11, height=3.6)
    equality, cost, memory = figure.subplots(1, 3)

    for index, (name, make) in enumerate(CELLS.items()):
        cell = make(run.rng)
        xs = tg.tensor(run.rng.standard_normal((steps, 2, 4)))
        targets = tg.tensor(run.rng.standard_normal((steps, 2, UNITS)))
        found, total = differences(cell, xs, targets)
        run.expect(f"{name}: largest relative difference, each step and the sum", expected="below 1e-13",
                   got=f"{found.max():.0e}, {total:.0e}", ok=max(found.max(), total) < 1e-13)  # fmt: skip
        equality.semilogy(np.arange(1, steps + 1), np.maximum(found, 1e-17), label=name, **run.style(index))
    equality.axhline(2.2e-16, color="#868e96", linewidth=0.8)
    equality.annotate("spacing of float64 at 1", (1, 2.2e-16), xytext=(60, -16), textcoords="offset points", fontsize=8)
    equality.set(
        title="the same gradient", xlabel="step t", ylabel="relative difference of dℓ_t/dθ", ylim=(1e-17, 1e-13)
    )
    equality.legend(fontsize=8, ncols=2)

    sizes = [8, 16, 32, 64, 128]
    cells = [rnn.ElmanCell(8, size, rng=0) for size in sizes]
    for index, (rule, power) in enumerate(zip(RULES, (4, 2))):
        counted = [rule.cost(cell, batch=1, steps=1).multiplications for cell in cells]
        exponent = slope(sizes, counted)
        name = repr(rule).removesuffix("()")
        cost.loglog(sizes, counted, label=f"{name}: n^{exponent:.1f}", **run.style(index, markers=True))
        run.expect(f"{name}: exponent of the multiplications a step", expected=f"{power}", got=f"{exponent:.2f}",
                   ok=abs(exponent - power) < 0.25)  # fmt: skip
    cost.set_xticks(sizes, [str(size) for size in sizes])
    cost.minorticks_off()
    cost.set(title="cost", xlabel="units n of an Elman network", ylabel="multiplications a step and lane")
    cost.legend(fontsize=8)

    lengths = [10, 100, 1000, 10_000, 100_000, 1_000_000]
    for index, rule in enumerate(RULES):
        name = repr(rule).removesuffix("()")
        for cell, size, thickness in ((cells[1], 16, 1.0), (cells[3], 64, 2.2)):
            held = [rule.cost(cell, batch=1, steps=length).bytes / 2**20 for length in lengths]
            memory.loglog(lengths, held, label=f"{name}, n = {size}", **run.style(index) | {"linewidth": thickness})
        growth, expected = held[-1] / held[0], (1, 100_000)[index]
        run.expect(f"{name}: bytes held for 1,000,000 steps over those for 10", expected=f"{expected}",
                   got=f"{growth:.0f}", ok=abs(growth / expected - 1) < 0.1)  # fmt: skip
    memory.set(title="memory", xlabel="steps T of the stream", ylabel="MiB held, one lane")
    memory.legend(fontsize=8)
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
