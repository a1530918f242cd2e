"""Back-propagation through time written out for a network of single units, against the tape.

    z(t) = u x(t) + w h(t-1),    h(t) = φ(z(t)),    r(t) = v h(t),    y(t) = φ(r(t)),    L = Σ_t ½ (y(t) - d(t))²

with h(0) = 0 and φ = tanh. A bar marks the derivative of L by what stands under it. Activations, last step first:

    L̄ = 1,   ȳ(t) = L̄ ∂L/∂y(t),   r̄(t) = ȳ(t) φ'(r(t)),   h̄(t) = r̄(t) v + z̄(t+1) w,   z̄(t) = h̄(t) φ'(z(t))

Parameters, each of which is used at every step, so that its derivative is a sum:

    ū = Σ_t z̄(t) x(t),    v̄ = Σ_t r̄(t) h(t),    w̄ = Σ_t z̄(t+1) h(t)

Source: J. Ba, CSC413/2516, lecture 7, "Backprop through time", slide 42.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery


def by_hand(u: float, v: float, w: float, x: np.ndarray, d: np.ndarray) -> tuple[float, dict[str, float], np.ndarray]:
    """The equations above, in their order: the loss, ū, v̄ and w̄, and h̄ at every step."""
    steps = len(x)
    h, y = np.zeros(steps + 1), np.zeros(steps + 1)  # h[0] is the state before the first step
    for t in range(1, steps + 1):
        h[t] = np.tanh(u * x[t - 1] + w * h[t - 1])
        y[t] = np.tanh(v * h[t])
    loss = 0.5 * np.sum((y[1:] - d) ** 2)

    r_bar, z_bar, h_bar = np.zeros(steps + 2), np.zeros(steps + 2), np.zeros(steps + 2)
    for t in range(steps, 0, -1):
        y_bar = y[t] - d[t - 1]
        r_bar[t] = y_bar * (1 - y[t] ** 2)
        h_bar[t] = r_bar[t] * v + z_bar[t + 1] * w
        z_bar[t] = h_bar[t] * (1 - h[t] ** 2)
    bars = {
        "u": np.sum(z_bar[1:-1] * x),
        "v": np.sum(r_bar[1:-1] * h[1:]),
        "w": np.sum(z_bar[2:] * h[1:]),
    }
    return loss, bars, h_bar[1:-1]


def main(run: gallery.Run) -> None:
    """Compare the equations with the tape."""
    steps = 10 if run.quick else 30
    x, d = run.rng.normal(size=steps), run.rng.uniform(-0.9, 0.9, steps)
    values = {"u": 0.8, "v": 1.3, "w": 0.9}
    hand_loss, bars, h_bar = by_hand(**values, x=x, d=d)

    parameters = {name: tg.tensor(value, dtype="float64") for name, value in values.items()}
    u, v, w = parameters.values()
    with tg.Tape() as tape:
        h, states, loss = tg.tensor(0.0, dtype="float64"), [], tg.tensor(0.0, dtype="float64")
        for t in range(steps):
            h = tg.tanh(u * float(x[t]) + w * h)
            states.append(h)
            loss = loss + 0.5 * (tg.tanh(v * h) - float(d[t])) ** 2
    found = dict(zip(parameters, tape.gradient(loss, list(parameters.values()))))
    through = np.array([g.item() for g in tape.gradient(loss, states)])

    run.say(f"{steps} steps, {len(tape)} records on the tape, loss {loss.item():.6f}")
    worst = 0.0
    for name, bar in bars.items():
        error = abs(found[name].item() - bar) / abs(bar)
        worst = max(worst, error)
        run.say(f"  ∂L/∂{name}   by hand {bar:+.15f}   tape {found[name].item():+.15f}")
    worst = max(
        worst, np.max(np.abs(through - h_bar)) / np.max(np.abs(h_bar)), abs(loss.item() - hand_loss) / hand_loss
    )
    run.expect("largest relative difference", expected="round-off (below 1e-13)", got=f"{worst:.1e}", ok=worst < 1e-13)

    figure = run.figure("Back-propagation through time: by hand, and from the tape", width=8, height=3.6)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    t = np.arange(1, steps + 1)
    left.plot(t, h_bar, **run.style(0), label="equations, by hand")
    left.plot(t, through, "o", color=gallery.COLORS[1], markerfacecolor="none", label="tape")
    left.axhline(0, color="#868e96", linewidth=0.8)
    left.set(title="derivative by the state", xlabel="step $t$", ylabel=r"$\bar h(t) = \partial L/\partial h(t)$")
    left.legend()
    places = np.arange(3)
    right.bar(places - 0.2, bars.values(), 0.36, color=gallery.COLORS[0], label="by hand")
    right.bar(places + 0.2, [found[name].item() for name in bars], 0.36, color="white", edgecolor=gallery.COLORS[1],
              hatch="//", label="tape")  # fmt: skip
    right.axhline(0, color="#868e96", linewidth=0.8)
    right.set(title="by the parameters", xticks=places, xticklabels=bars, ylabel=r"$\partial L/\partial\theta$")
    right.set_ylim(top=1.3 * max(bars.values()))
    right.legend(loc="upper center", ncols=2)
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
