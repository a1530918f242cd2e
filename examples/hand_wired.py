"""Two networks with weights set by hand: a running total, and which of two inputs has the larger one.

One linear hidden unit with recurrent weight 1 sums its inputs, and a linear output copies it:

    h_t = x_t + h_{t-1},    y_t = h_t

With two inputs, weights 1 and -1, the hidden unit holds the difference of the totals, and a logistic output with
weight 5 says whether the first total is the larger one:

    h_t = x1_t - x2_t + h_{t-1},    y_t = 1 / (1 + exp(-5 h_t))

Source: J. Ba, CSC413/2516, lecture 7, "Generalization and recurrent neural networks", the two toy networks.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, rnn


class LinearUnit(nn.Module):
    """A hidden unit that adds its weighted inputs to what it holds."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.weights = nn.Parameter(np.array(weights)[:, None])

    def initial_state(self, batch: int) -> tg.Tensor:
        return tg.zeros((batch, 1), dtype="float64")

    def forward(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
        return x @ self.weights + h


def main(run: gallery.Run) -> None:
    """Run both networks on the inputs of the slides."""
    numbers = np.array([2.0, -0.5, 1.0, 1.0])
    totals, _ = rnn.scan(LinearUnit([1.0]), tg.tensor(numbers.reshape(4, 1, 1)))
    totals = totals.numpy().ravel()
    run.say(f"inputs  {numbers}")
    run.expect("running total", expected="2.0, 1.5, 2.5, 3.5", got=", ".join(f"{y:.1f}" for y in totals),
               ok=np.array_equal(totals, [2.0, 1.5, 2.5, 3.5]))  # fmt: skip

    pairs = np.array([[2.0, -2.0], [0.0, 3.5], [1.0, 2.2]])
    differences, _ = rnn.scan(LinearUnit([1.0, -1.0]), tg.tensor(pairs.reshape(3, 1, 2)))
    larger = tg.sigmoid(5.0 * differences).numpy().ravel()
    run.say("inputs  " + "  ".join(f"({a:g}, {b:g})" for a, b in pairs))
    run.expect("first total larger", expected="1.00, 0.92, 0.03", got=", ".join(f"{y:.2f}" for y in larger),
               ok=np.allclose(larger, [1.0, 0.92, 0.03], atol=0.005))  # fmt: skip

    figure = run.figure("Two recurrent networks with weights set by hand", width=8, height=3.4)
    left, right = figure.subplots(1, 2)
    steps = np.arange(1, 5)
    left.bar(steps, numbers, width=0.35, color="#ced4da", edgecolor="#495057", label="input $x_t$")
    left.plot(steps, totals, **run.style(0, markers=True), label="output $y_t$")
    left.set(title="running total", xlabel="step $t$", xticks=steps, ylabel="value")
    left.axhline(0, color="#868e96", linewidth=0.8)
    left.legend()
    sums = pairs.cumsum(axis=0)
    right.plot(steps[:3], sums[:, 0], **run.style(1, markers=True), label="total of the first input")
    right.plot(steps[:3], sums[:, 1], **run.style(2, markers=True), label="total of the second input")
    right.plot(steps[:3], larger, **run.style(0, markers=True), label="output $y_t$")
    right.set(title="which total is larger", xlabel="step $t$", xticks=steps[:3], ylabel="value, or probability")
    right.legend()
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
