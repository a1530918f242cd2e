"""What the gates of an LSTM do: remember, add, erase, overwrite; and the gradient that passes unmodified.

    c(t) = f c(t-1) + i g,    h(t) = o tanh(c(t))

    forget gate f   input gate i   behaviour
         1               0         remember the value
         1               1         add to the value
         0               0         erase the value
         0               1         overwrite the value

The exercise of the slide: with f = 1, i = 0, o = 0 the cell's gradient passes unmodified to the step before,
∂L/∂c(t-1) = ∂L/∂c(t). The gates are set here by biases of ±1000, at which the logistic function is 0 and 1 to the last
bit.

Source: J. Ba, CSC413/2516, lecture 7, slides on long short-term memory; Hochreiter & Schmidhuber 1997.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, rnn

SETTINGS = {"remember": (1, 0), "add": (1, 1), "erase": (0, 0), "overwrite": (0, 1)}  # f, i
STEPS = 8


def gated(f: int, i: int, o: int) -> rnn.LSTMCell:
    """A cell of one unit whose gates stand still; its candidate is g = tanh(x)."""
    cell = rnn.LSTMCell(1, 1, dtype="float64")
    for parameter in cell.parameters():
        parameter.assign(np.zeros(parameter.shape))
    cell.weight_ih.assign(np.array([[0.0], [0.0], [1.0], [0.0]]))  # order i f g o
    cell.bias_ih.assign(np.array([2000.0 * i - 1000, 2000.0 * f - 1000, 0.0, 2000.0 * o - 1000]))
    return cell


def main(run: gallery.Run) -> None:
    """Four settings of the gates, then the gradient through time."""
    start, x = 0.5, np.full(STEPS, 0.3)
    g = np.tanh(0.3)
    expected = {"remember": start, "add": start + STEPS * g, "erase": 0.0, "overwrite": g}
    traces = {}
    for name, (f, i) in SETTINGS.items():
        cell = gated(f, i, 1)
        c = tg.tensor([[start]], dtype="float64")
        state, trace = (tg.zeros((1, 1), dtype="float64"), c), [start]
        for value in x:
            state = cell(tg.tensor([[value]], dtype="float64"), state)
            trace.append(state[1].item())
        traces[name] = trace
        run.expect(f"{name} (f = {f}, i = {i}): c after {STEPS} steps", expected=f"{expected[name]:.6f}",
                   got=f"{trace[-1]:.6f}", ok=abs(trace[-1] - expected[name]) < 1e-12)  # fmt: skip

    cell = gated(1, 0, 0)
    c = tg.tensor([[start]], dtype="float64")
    state, cells = (tg.zeros((1, 1), dtype="float64"), c), []
    with tg.Tape() as tape:
        for value in x:
            state = cell(tg.tensor([[value]], dtype="float64"), state)
            cells.append(state[1])
        loss = tg.sum(3.0 * state[1])
    passed = [gradient.item() for gradient in tape.gradient(loss, [c, *cells])]
    ratios = np.array(passed[:-1]) / passed[-1]
    run.expect("f = 1, i = 0, o = 0: ∂L/∂c(t-1) over ∂L/∂c(t), at every step", expected="exactly 1",
               got="exactly 1" if np.all(ratios == 1) else str(ratios), ok=bool(np.all(ratios == 1)))  # fmt: skip

    figure = run.figure("The gates of an LSTM", width=9, height=3.8)
    left, right = figure.subplots(1, 2)
    for i, (name, trace) in enumerate(traces.items()):
        f, gate = SETTINGS[name]
        left.plot(trace, **run.style(i, markers=True), label=f"{name}: f = {f}, i = {gate}")
    left.set(title="the cell's value", xlabel="step $t$", ylabel="$c(t)$")
    left.legend()
    for i, f in enumerate((1.0, 0.9, 0.5)):
        cell = gated(1, 0, 0)
        bias = cell.bias_ih.numpy().copy()
        bias[1] = 1000.0 if f == 1 else np.log(f / (1 - f))
        cell.bias_ih.assign(bias)
        c = tg.tensor([[start]], dtype="float64")
        state, cells = (tg.zeros((1, 1), dtype="float64"), c), [c]
        with tg.Tape() as tape:
            for _ in range(40):
                state = cell(tg.zeros((1, 1), dtype="float64"), state)
                cells.append(state[1])
            loss = tg.sum(state[1])
        size = [gradient.item() for gradient in tape.gradient(loss, cells)]
        right.semilogy(np.arange(40, -1, -1), size, **run.style(i), label=f"f = {f:g}")
    right.set(title="its gradient, steps back in time", xlabel="steps before the loss",
              ylabel=r"$\partial L/\partial c(t)$", ylim=(1e-13, 10))  # fmt: skip
    right.legend()
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
