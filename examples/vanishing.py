"""How fast the gradient fades through time: tanh, IRNN, orthogonal, LSTM and GRU, before and after training.

    ∂L_t/∂h_k = ∂L_t/∂h_t  Π_{i=k+1..t} ∂h_i/∂h_{i-1}

A mean factor below 1 a step makes the gradient vanish over t - k steps, a factor above 1 makes it explode. Printed is
that factor, the slope of log ‖∂L_t/∂h_k‖ over t - k; for the LSTM the state is (h, c).

    IRNN: ReLU, W_hh = I, b = 0 (Le, Jaitly & Hinton 2015, arXiv:1504.00941). orthogonal: tanh, W_hhᵀ W_hh = I.
    LSTM: the forget gate's bias is 1 (Jozefowicz et al. 2015), so that f begins at σ(1) = 0.73.

Source: Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, section 2; Hochreiter 1991.
"""

from collections.abc import Callable

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.data import adding_problem
from tinygrad_rnn.training import fit

HIDDEN, BATCH = 32, 32
STEPS = 60


class Both(nn.Module):
    """A recurrent layer, and an output layer on its last state."""

    def __init__(self, layer: nn.Module, output: nn.Linear) -> None:
        self.layer, self.output = layer, output

    def forward(self, xs: tg.Tensor) -> tg.Tensor:
        """xs (T, B, I) → (B, 1)."""
        return self.output(self.layer(xs)[0][-1])


def networks(seed: int) -> dict[str, tuple[nn.Module, rnn.ElmanCell | rnn.LSTMCell | rnn.GRUCell]]:
    """Each kind as a layer, which trains fast, and as a cell, whose states can be looked at."""
    made = {}
    for name in ("tanh", "IRNN", "orthogonal", "LSTM", "GRU"):
        if name in ("LSTM", "GRU"):
            layer = getattr(rnn, name)(2, HIDDEN, rng=seed)
            cell = getattr(rnn, f"{name}Cell")(2, HIDDEN)
        else:
            kind = "relu" if name == "IRNN" else "tanh"
            layer, cell = rnn.RNN(2, HIDDEN, nonlinearity=kind, rng=seed), rnn.ElmanCell(2, HIDDEN, kind)
        if name == "IRNN":
            nn.init.irnn_(layer, seed, std=0.1)
        if name == "orthogonal":
            layer.weight_hh_l0.assign(nn.init.orthogonal((HIDDEN, HIDDEN), seed))
            layer.bias_ih_l0.assign(np.zeros(HIDDEN, np.float32))
            layer.bias_hh_l0.assign(np.zeros(HIDDEN, np.float32))
        if name == "LSTM":
            nn.init.forget_gate_bias_(layer)
        made[name] = layer, cell
    return made


def norms(layer: nn.Module, cell: Callable[..., object], output: nn.Linear, xs: np.ndarray) -> np.ndarray:
    """‖∂L/∂h_k‖ for k = T, T-1, ..., 0, the mean over the batch; L is the sum of the outputs at T."""
    for name, parameter in cell.named_parameters():
        parameter.assign(getattr(layer, f"{name}_l0").numpy())
    state, states = cell.initial_state(xs.shape[1]), []
    with tg.Tape() as tape:
        for x in xs:
            states.append(state)
            state = cell(tg.asarray(x), state)
        states.append(state)
        loss = tg.sum(output(state[0] if isinstance(state, tuple) else state))
    sizes = []
    for state in reversed(states):
        parts = tape.gradient(loss, list(state) if isinstance(state, tuple) else [state], unused="zeros")
        sizes.append(np.mean(np.sqrt(sum(np.sum(part.numpy() ** 2, axis=1) for part in parts))))
    return np.array(sizes)


def train(layer: nn.Module, output: nn.Linear, updates: int, seed: int) -> float:
    """Train on the adding problem; return the last losses' mean."""
    both, rng, losses = Both(layer, output), np.random.default_rng(seed), []

    def loss(model: Both, batch: tuple[np.ndarray, np.ndarray], carry: None) -> tg.Tensor:
        xs, targets = batch
        return tg.mse_loss(model(tg.asarray(xs)), tg.asarray(targets))

    fit(both, lambda step: adding_problem(STEPS, BATCH, seed=rng), loss=loss, optimizer=optim.Adam(both, lr=0.003),
        steps=updates, clip=1.0, callbacks=[lambda step, state: losses.append(state.loss)], progress=False)  # fmt: skip
    return float(np.mean(losses[-20:]))


def main(run: gallery.Run) -> None:
    """The decay of five networks, at initialisation and after training."""
    updates = 20 if run.quick else 600
    xs, _ = adding_problem(STEPS, 16, seed=run.seed + 1)
    curves, decay = {}, {}
    for name, (layer, cell) in networks(run.seed).items():
        output = nn.Linear(HIDDEN, 1, rng=run.seed)
        for when in ("initial", "trained"):
            loss = train(layer, output, updates, run.seed) if when == "trained" else None
            sizes = curves[name, when] = norms(layer, cell, output, xs)
            seen = np.flatnonzero(sizes > 1e-30)[1:]
            decay[name, when] = float(np.exp(np.polyfit(seen, np.log(sizes[seen]), 1)[0]))
        run.say(f"{name:10} factor a step: {decay[name, 'initial']:.3f} at initialisation, "
                f"{decay[name, 'trained']:.3f} after training (loss {loss:.3f})")  # fmt: skip
    first = {name: found for (name, when), found in decay.items() if when == "initial"}
    run.expect("tanh, at initialisation", expected="vanishes: below 0.8", got=f"{first['tanh']:.3f}",
               ok=first["tanh"] < 0.8)  # fmt: skip
    run.expect("IRNN, at initialisation", expected="1 (the identity)", got=f"{first['IRNN']:.3f}",
               ok=abs(first["IRNN"] - 1) < 0.05)  # fmt: skip
    run.expect("orthogonal, at initialisation", expected="slightly below 1 (tanh′ ≤ 1)",
               got=f"{first['orthogonal']:.3f}", ok=0.85 < first["orthogonal"] <= 1.0001)  # fmt: skip
    run.expect("LSTM, at initialisation", expected="above tanh, from σ(1) = 0.731 on", got=f"{first['LSTM']:.3f}",
               ok=0.731 < first["LSTM"] < 0.95)  # fmt: skip

    figure = run.figure("The gradient through time", width=9.5, height=4)
    for axes, when, title in zip(figure.subplots(1, 2, sharey=True), ("initial", "trained"),
                                 ("at initialisation", f"after {updates} updates on the adding problem")):  # fmt: skip
        for i, name in enumerate(first):
            axes.semilogy(curves[name, when], **run.style(i), label=f"{name}: {decay[name, when]:.2f} a step")
        axes.set(title=title, xlabel="steps back, $t - k$", ylim=(1e-12, 1e3))
        axes.legend(loc="lower left", fontsize=8)
    figure.axes[0].set_ylabel(r"$\Vert\partial L_t/\partial h_k\Vert$")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
