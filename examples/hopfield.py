"""Hopfield's network: patterns stored as minima of an energy, recalled from a spoiled copy, up to a capacity.

    w_ij = 1/N Σ_p s_i^p s_j^p,  w_ii = 0        E = -½ Σ_ij w_ij s_i s_j        s_i ← sign(Σ_j w_ij s_j)

An update of one unit never raises E, so recall ends in a minimum. Random patterns are recalled with few errors as long
as there are fewer than about 0.138 N of them; beyond that, in a large network, recall breaks down at once.

Source: Hopfield 1982, PNAS 79, 2554; capacity: Amit, Gutfreund & Sompolinsky 1985, Phys. Rev. Lett. 55, 1530.
"""

import numpy as np

from tinygrad_rnn import gallery, rnn

CAPACITY = 0.138
LETTERS = {
    "T": ("#####", "..#..", "..#..", "..#..", "..#.."),
    "N": ("#...#", "##..#", "#.#.#", "#..##", "#...#"),
    "O": (".###.", "#...#", "#...#", "#...#", ".###."),
}


def drawn(rows: tuple[str, ...], scale: int) -> np.ndarray:
    """A letter as ±1, each cell `scale` units wide."""
    small = np.array([[1.0 if cell == "#" else -1.0 for cell in row] for row in rows])
    return np.kron(small, np.ones((scale, scale)))


def overlap(units: int, load: float, rng: np.random.Generator) -> float:
    """Mean overlap m = <s, pattern> / N after recall that begins at the patterns themselves."""
    patterns = np.where(rng.random((max(1, round(load * units)), units)) < 0.5, -1.0, 1.0)
    network = rnn.HopfieldNetwork(units)
    network.store(patterns)
    recalled = network.recall(patterns, sweeps=40, rng=rng).numpy()
    return float(np.mean(np.sum(recalled * patterns, axis=1) / units))


def main(run: gallery.Run) -> None:
    """Recall letters, watch the energy, and measure the capacity."""
    letters = np.stack([drawn(rows, 4).ravel() for rows in LETTERS.values()])
    network = rnn.HopfieldNetwork(letters.shape[1])
    network.store(letters)
    spoiled = np.where(run.rng.random(letters.shape) < 0.25, -letters, letters)
    states, energies = [spoiled], [network.energy(spoiled).numpy()]
    order = run.rng.permutation(letters.shape[1])
    weights = network.weights.numpy()
    current = spoiled.copy()
    for unit in order:  # one unit at a time, to see the energy after each
        current[:, unit] = np.where(current @ weights[unit] >= 0, 1.0, -1.0)
        energies.append(network.energy(current).numpy())
    states += [current, network.recall(current, rng=run.rng).numpy()]
    right = float(np.mean(states[-1] == letters))
    run.expect("units right after recall from letters with 25 % of the units flipped", expected="100 %",
               got=f"{right:.1%}", ok=right == 1)  # fmt: skip
    rise = float(np.max(np.diff(energies, axis=0)))
    run.expect("largest rise of the energy in an update of one unit", expected="0", got=f"{max(rise, 0):.0e}",
               ok=rise <= 1e-4)  # fmt: skip

    # Below the capacity a larger network recalls better, above it worse: the curves of two sizes cross there.
    loads = np.array([0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17])
    sizes = {100: 12, 400: 3} if run.quick else {400: 8, 2000: 2}  # units: networks to average over
    curves = {n: np.array([np.mean([overlap(n, load, run.rng) for _ in range(count)]) for load in loads])
              for n, count in sizes.items()}  # fmt: skip
    small, large = curves.values()
    gain = large - small
    last = int(np.flatnonzero(gain[:-1] > 0)[-1]) if np.any(gain[:-1] > 0) else 0
    capacity_found = loads[last] + gain[last] / (gain[last] - gain[last + 1]) * (loads[last + 1] - loads[last])
    run.say("gain in overlap of the larger: " + ", ".join(f"{load:g}: {g:+.3f}" for load, g in zip(loads, gain)))
    run.expect(f"capacity, patterns over units (N = {' and '.join(map(str, sizes))})", expected="about 0.138 (N → ∞)",
               got=f"{capacity_found:.3f}",
               ok=abs(capacity_found - CAPACITY) < (0.03 if run.quick else 0.015))  # fmt: skip

    figure = run.figure("Hopfield's network", width=11, height=4)
    pictures, energy, capacity = figure.subfigures(1, 3, width_ratios=(1.1, 1, 1.2))
    grid = pictures.subplots(3, 3)
    for row, name in enumerate(LETTERS):
        for column, (state, title) in enumerate(zip(states, ("spoiled", "one sweep", "recalled"))):
            axes = grid[row, column]
            axes.imshow(state[row].reshape(20, 20), cmap="Greys", vmin=-1, vmax=1)
            axes.set(xticks=[], yticks=[], title=title if row == 0 else "")
            if column == 0:
                axes.set_ylabel(name, rotation=0, labelpad=10, fontweight="bold")
    axes = energy.subplots()
    for i, name in enumerate(LETTERS):
        axes.plot([e[i] for e in energies], **run.style(i), label=name)
    axes.set(title="the energy never rises", xlabel="units updated", ylabel="energy $E$")
    axes.legend()
    axes = capacity.subplots()
    for i, (n, curve) in enumerate(curves.items()):
        axes.plot(loads, curve, **run.style(i, markers=True), label=f"N = {n}")
    axes.axvline(CAPACITY, color="#868e96", linestyle="--", linewidth=1)
    axes.annotate(
        "0.138", (CAPACITY, 0.02), xycoords=("data", "axes fraction"), xytext=(4, 0), textcoords="offset points"
    )
    axes.set(title="capacity", xlabel="patterns over units", ylabel="overlap after recall", ylim=(0.4, 1.02))
    axes.legend(loc="lower left")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
