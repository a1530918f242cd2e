"""A recurrent matrix whose eigenvalues keep modulus 1 through training.

    W = (I + A)⁻¹ (I − A)   (Cayley)        W = e^A   (exponential),        A = P − Pᵀ,   complex: A = −Aᴴ

W is orthogonal, or unitary, for every P, so gradient descent on P never leaves the set of such matrices, and the
Jacobian of the linear recurrence neither shrinks nor grows. An ordinary recurrent matrix that begins orthogonal leaves
the unit circle with the first updates.

Source: Arjovsky, Shah & Bengio 2016, arXiv:1511.06464; Helfrich, Willmott & Ye 2018, arXiv:1707.09520 (Cayley);
Lezcano-Casado & Martínez-Rubio 2019, arXiv:1901.08428 (exponential).
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.data import copy_memory

HIDDEN, DELAY = 24, 10


def cell_of(kind: str, seed: int) -> rnn.UnitaryCell | rnn.ElmanCell:
    """A cell for the copying task by its kind: field and parametrisation, or an Elman cell that begins orthogonal."""
    if kind == "unconstrained":
        cell = rnn.ElmanCell(10, HIDDEN, "relu", rng=seed, dtype="float64")
        cell.weight_hh.assign(nn.init.orthogonal((HIDDEN, HIDDEN), seed, dtype="float64"))
        return cell
    field, parametrization = kind.split(", ")
    return rnn.UnitaryCell(10, HIDDEN, field, parametrization, rng=seed, dtype="float64")


def eigenvalues(cell: rnn.UnitaryCell | rnn.ElmanCell) -> np.ndarray:
    """Of the recurrent matrix, as complex numbers."""
    matrix = cell.recurrent_matrix() if isinstance(cell, rnn.UnitaryCell) else cell.weight_hh
    return np.linalg.eigvals(matrix.numpy())


def train(kind: str, updates: int, seed: int) -> tuple[np.ndarray, list[float], np.ndarray]:
    """Train on copying; return the deviation from modulus 1 after every update, the losses, the last eigenvalues."""
    cell = cell_of(kind, seed)
    width = cell.initial_state(1).shape[1]
    output = nn.Linear(width, 9, rng=seed, dtype="float64")
    parameters = [*cell.parameters(), *output.parameters()]
    optimizer = optim.Adam(parameters, lr=0.01)
    rng = np.random.default_rng(seed)
    deviations, losses = [np.max(np.abs(np.abs(eigenvalues(cell)) - 1))], []
    for _ in range(updates):
        xs, targets = copy_memory(DELAY, 16, seed=rng, dtype="float64")
        with tg.Tape():
            ys, _ = rnn.scan(cell, tg.asarray(xs))
            loss = tg.cross_entropy(output(ys), tg.tensor(targets))
            loss.backward()
        optim.clip_grad_norm(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        deviations.append(np.max(np.abs(np.abs(eigenvalues(cell)) - 1)))
    return np.array(deviations), losses, eigenvalues(cell)


def main(run: gallery.Run) -> None:
    """Four unitary cells and an unconstrained one."""
    updates = 10 if run.quick else 200
    kinds = ("real, cayley", "real, exponential", "complex, cayley", "complex, exponential", "unconstrained")
    found = {kind: train(kind, updates, run.seed) for kind in kinds}
    for kind, (deviations, losses, _) in found.items():
        run.say(f"{kind:21} loss {losses[0]:.3f} → {losses[-1]:.3f}, largest deviation {deviations.max():.1e}")
    worst = max(found[kind][0].max() for kind in kinds[:-1])
    run.expect("| |λ| − 1 | through training, largest of the four", expected="0 up to round-off", got=f"{worst:.1e}",
               ok=worst < 1e-12)  # fmt: skip
    free = found["unconstrained"][0]
    run.expect("the same for an unconstrained matrix that begins orthogonal", expected="leaves the circle",
               got=f"{free[-1]:.2f}", ok=free[-1] > (0.02 if run.quick else 0.1))  # fmt: skip

    figure = run.figure("Eigenvalues of the recurrent matrix through training", width=11, height=4)
    left, middle, right = figure.subplots(1, 3)
    for i, (kind, (deviations, losses, values)) in enumerate(found.items()):
        left.semilogy(np.maximum(deviations, 1e-17), **run.style(i), label=kind)
        right.plot(losses, **run.style(i), label=kind)
        if kind in ("complex, cayley", "unconstrained"):
            middle.plot(values.real, values.imag, gallery.MARKERS[i], color=gallery.COLORS[i], label=kind, markersize=5,
                        markerfacecolor="none")  # fmt: skip
    left.set(title="largest distance from modulus 1", xlabel="update", ylabel="max $||\\lambda| - 1|$")
    left.legend(fontsize=8, loc="center right")
    circle = np.exp(1j * np.linspace(0, 2 * np.pi, 200))
    middle.plot(circle.real, circle.imag, color="#adb5bd", linewidth=1, zorder=0)
    middle.set(title=f"after {updates} updates", xlabel="real part", ylabel="imaginary part", aspect="equal")
    middle.legend(fontsize=8, loc="center")
    right.axhline(10 * np.log(8) / (DELAY + 20), color="#868e96", linestyle="--", linewidth=1)
    right.annotate("memoryless", (1, 10 * np.log(8) / (DELAY + 20)), xycoords=("axes fraction", "data"), xytext=(0, 3),
                   textcoords="offset points", ha="right")  # fmt: skip
    right.set(
        title=f"copying over {DELAY} steps", xlabel="update", ylabel="cross-entropy in nats per step", ylim=(0, 2.5)
    )
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
