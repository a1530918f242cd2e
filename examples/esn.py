"""Echo-state network on the Mackey-Glass series: forecast in closed loop, error after 84 steps.

    h_t = (1 - a) h_{t-1} + a tanh(W h_{t-1} + W_in u_t + b),    y_t = V h_t + c;    u_{t+1} = y_t in closed loop

W is drawn once and scaled to spectral radius 0.9; only V and c are learned, by ridge regression on 2,800 steps. The
measure is the root of the mean squared error 84 steps into the closed loop, over 100 starts after the training, divided
by the standard deviation of the series; the input is tanh(x - 1), and the error is taken on the scale of x.

Sources: Jaeger 2001, "The echo state approach", GMD report 148, section 6.4: 2.8e-4 with 400 units and 3,000 steps;
Jaeger & Haas 2004, Science 304: 10^-4.2 with 1000 units. With 200 units (--quick) below 0.1 is expected.
"""

from __future__ import annotations

import statistics

import numpy as np

from tinygrad_rnn import data, esn, gallery

TRAIN, WASHOUT, STARTS, GAP, HORIZON = 3000, 200, 100, 50, 84
JAEGER = {400: 2.8e-4, 1000: 10**-4.2}


def fitted(units: int, x: np.ndarray, run: gallery.Run, seed: int) -> esn.ESN:
    """A network that has learned to say the next value."""
    model = esn.ESN(
        units,
        leak=0.7,
        spectral_radius=0.9,
        input_scaling=1.0,
        bias_scaling=0.2,
        connectivity=0.02,
        ridge=1e-14,
        washout=WASHOUT,
        backend=run.backend,
        random_state=seed,
    )
    return model.fit(x[:TRAIN], x[1 : TRAIN + 1])


def free_runs(model: esn.ESN, x: np.ndarray, starts: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The series and the closed loops after each start, both (steps, starts), on the scale of the series."""
    state, place = model.state_, TRAIN
    truth, made = [], []
    for _ in range(starts):
        piece = x[place : place + GAP]
        made.append(model.generate(steps, prime=piece, state=state))
        _, state = model.run(piece, state)
        place += GAP
        truth.append(x[place : place + steps])
    back = (1 + np.arctanh(np.clip(np.stack(each, axis=1)[..., 0], -1 + 1e-9, 1 - 1e-9)) for each in (truth, made))
    return tuple(back)  # type: ignore[return-value]


def main(run: gallery.Run) -> None:
    """Fit networks of several sizes, print the errors, draw a forecast and how errors grow."""
    sizes = (100, 200) if run.quick else (100, 200, 400, 1000)
    seeds = 1 if run.quick else 3
    starts = 20 if run.quick else STARTS
    series = data.mackey_glass(TRAIN + GAP * STARTS + 1000, seed=run.seed)
    x, variance = np.tanh(series - 1), float(series.var())
    errors: dict[int, list[float]] = {}
    for units in sizes:
        errors[units] = []
        for seed in range(seeds):
            model = fitted(units, x, run, run.seed + seed)
            errors[units].append(data.nrmse84(*free_runs(model, x, starts, HORIZON), variance=variance))
        run.say(f"{units:>5} units: NRMSE84 {statistics.median(errors[units]):.1e}, median of {seeds} reservoirs")
    best = statistics.median(errors[sizes[-1]])
    goal = 0.1 if run.quick else 3e-5
    run.expect(f"NRMSE84 at {sizes[-1]} units", expected=f"< {goal:.0e}", got=f"{best:.1e}", ok=best < goal)
    for units, published in JAEGER.items():
        if units in errors:
            got = statistics.median(errors[units])
            run.expect(f"Jaeger's at {units} units", expected=f"{published:.1e}", got=f"{got:.1e}", ok=got < published)
    picture(run, *free_runs(model, x, starts, 300 if run.quick else 900), errors, variance)


def picture(
    run: gallery.Run, truth: np.ndarray, made: np.ndarray, errors: dict[int, list[float]], variance: float
) -> None:
    """One forecast; the error over the steps of the closed loop; the error over the size."""
    units, steps = max(errors), np.arange(1, len(truth) + 1)
    figure = run.figure("Mackey-Glass, delay 17: an echo-state network on its own outputs", width=8, height=5)
    panels = figure.subplot_mosaic([["series", "series"], ["growth", "size"]])
    panels["series"].plot(steps, truth[:, 0], label="truth", color="0.55", linewidth=2.5)
    panels["series"].plot(steps, made[:, 0], label=f"forecast, {units} units", **run.style(1))
    panels["series"].set(xlabel="steps in closed loop", ylabel="x", xlim=(0, len(truth)), ylim=(0.2, 1.75))
    panels["series"].legend(loc="upper right", ncols=2)
    spread = np.abs(made - truth) / np.sqrt(variance)
    low, middle, high = np.quantile(spread, (0.1, 0.5, 0.9), axis=1)
    panels["growth"].fill_between(steps, low, high, color="0.85", label="middle 80 % of starts")
    panels["growth"].semilogy(steps, middle, label="median", **run.style(0))
    panels["growth"].axvline(HORIZON, color="0.4", linewidth=1)
    panels["growth"].annotate(f" step {HORIZON}", (HORIZON, 0.02), xycoords=("data", "axes fraction"), color="0.4")
    room = low.min() / 5, 50 * high.max()
    panels["growth"].set(xlabel="steps in closed loop", ylabel="error (s.d.)", xlim=(0, len(truth)), ylim=room)
    panels["growth"].legend(loc="upper left", bbox_to_anchor=(0.08, 1.04))
    for found in zip(*errors.values()):
        panels["size"].loglog(list(errors), found, linestyle="none", marker="o", color=gallery.COLORS[0])
    panels["size"].loglog(
        list(errors), [statistics.median(each) for each in errors.values()], label="here", **run.style(0)
    )
    known = [each for each in JAEGER if each <= max(errors)]
    if known:
        where = [JAEGER[each] for each in known]
        panels["size"].loglog(known, where, "s", color=gallery.COLORS[1], label="Jaeger 2001; Jaeger & Haas 2004")
    panels["size"].set(xlabel="units", ylabel="NRMSE after 84 steps")
    panels["size"].set_xticks(list(errors), [str(each) for each in errors])
    panels["size"].minorticks_off()
    panels["size"].legend(loc="lower left")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
