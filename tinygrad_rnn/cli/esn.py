"""Fit an echo-state network to a series and forecast it, by default Mackey-Glass, in a few seconds.

The series comes from a CSV or NPY file, one row a time step, or is generated. Its last steps are held out: the network
learns the steps before by ridge regression, then runs on its own outputs, and what it says is measured against them.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import backends, data
from ..errors import ArgumentError, DataError
from .console import LiveLine

THRESHOLD = 0.4  # error, in standard deviations, up to which a forecast counts as valid
RIDGES = tuple(10.0**k for k in range(-14, 3, 2))
PIECE = 1000  # steps between two moves of the bar


class Series(NamedTuple):
    """A series to forecast: values (T, I), and what is known of it.

    exponent: largest Lyapunov exponent per step, 0 if it is unknown.
    """

    name: str
    values: Any
    columns: list[str]
    exponent: float = 0.0
    note: str = ""


class Generated(NamedTuple):
    """A series that can be made: its columns, Lyapunov exponent per step, and how many steps are held out.

    settings: of the reservoir, where others than `DEFAULTS` are better.
    """

    make: Callable[[int], Any]
    columns: list[str]
    exponent: float
    held_out: int
    settings: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it


MAP = {"leak": 1.0, "spectral_radius": 0.1, "input_scaling": 0.2}  # the last value is all that counts
GENERATED = {
    "mackey-glass": Generated(lambda n: data.mackey_glass(n), ["x"], 0.0, 600),
    "lorenz": Generated(lambda n: data.lorenz(n, dt=0.02), ["x", "y", "z"], 0.02 * data.LORENZ_EXPONENT, 1000),
    "rossler": Generated(lambda n: data.rossler(n, dt=0.1), ["x", "y", "z"], 0.1 * data.ROSSLER_EXPONENT, 1500),
    "henon": Generated(lambda n: data.henon(n), ["x", "y"], data.HENON_EXPONENT, 60, MAP),
    "logistic": Generated(lambda n: data.logistic_map(n), ["x"], math.log(2), 40, MAP),
    # the task is linear, so small inputs, and a long memory
    "mso": Generated(
        lambda n: data.multiple_superimposed_oscillators(n), ["x"], 0.0, 300,
        {"leak": 1.0, "spectral_radius": 0.98, "input_scaling": 0.01, "bias_scaling": 0.1, "topology": "orthogonal"},
    ),
}  # fmt: skip
USUAL = "mackey-glass"
DEFAULTS: dict[str, Any] = {
    "leak": 0.7,
    "spectral_radius": 0.9,
    "input_scaling": 0.1,
    "bias_scaling": 1.0,
    "connectivity": 0.1,
    "topology": "random",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="a CSV or NPY file, one row a time step")
    parser.add_argument("--series", choices=sorted(GENERATED), help="generate this series instead (mackey-glass)")
    parser.add_argument(
        "--columns", metavar="NAME", nargs="+", help="use these columns of the file: names, or 1, 2, ..."
    )
    parser.add_argument("--length", metavar="N", type=int, default=5000, help="steps of a generated series (5000)")
    parser.add_argument(
        "--forecast", metavar="N", type=int, help="steps to hold out and forecast (a fifth, at most 500)"
    )
    parser.add_argument("--units", metavar="N", type=int, default=300, help="of the reservoir (300)")
    for name, text in (
        ("leak", "how much of a unit is renewed in a step, above 0 and up to 1"),
        ("spectral_radius", "of the recurrent matrix"),
        ("input_scaling", "range of the input weights; the series is standardised before"),
        ("bias_scaling", "range of the biases"),
        ("connectivity", "share of connections that exist"),
    ):
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, metavar="X", type=float, help=f"{text} ({DEFAULTS[name]})")
    parser.add_argument("--topology", help=f"random, orthogonal, ring, delay_line, ... ({DEFAULTS['topology']})")
    parser.add_argument(
        "--ridge", metavar="X", type=float, help="penalty of the readout (chosen on the last tenth of the steps to fit)"
    )
    parser.add_argument("--washout", metavar="N", type=int, default=100, help="first steps that are not fitted (100)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the reservoir (0)")
    parser.add_argument("--backend", metavar="NAME", help="array backend; the command backends lists them")
    parser.add_argument("--output", metavar="FOLDER", type=Path, default=Path("runs/esn"), help="for files (runs/esn)")


def run(options: argparse.Namespace) -> int:
    """Fit, forecast, print the measures, write the forecast and the picture."""
    from ..esn import IllConditionedWarning

    series = _read(options)
    held_out = _held_out(options, series)
    fitted = len(series.values) - held_out - 1  # the last target of the fit is one step later
    washout = options.washout
    if washout < 0 or fitted - washout < 20:
        raise ArgumentError(
            f"{series.name} has {len(series.values):,} steps; without {held_out:,} to forecast and a washout of "
            f"{washout:,} there are {max(0, fitted - washout):,} to fit, and 20 are too few already. "
            "Lower --forecast or --washout."
        )
    mean, spread = _scale(series, fitted + 1)
    z = (series.values - mean) / spread
    print(f"series      {series.name}: {len(z):,} steps, {_columns(series.columns)}" + series.note)
    print(f"split       {fitted:,} steps to fit, of which {washout:,} are washout; {held_out:,} to forecast")

    model = _model(options)
    begun = time.perf_counter()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", IllConditionedWarning)
        ridge = _fit(model, z[: fitted + 1], options.ridge)
    took = time.perf_counter() - begun
    chosen = "" if options.ridge is not None else ", chosen on the last tenth"
    print(f"model       {options.units:,} units, {model.topology}; ridge {ridge:.0e}{chosen}")
    print(f"fit         {took:.1f} s on {model.backend}; condition number {model.readout_.condition:.0e}")
    for warning in told[-1:]:  # the last is of the readout that is used
        print(f"note        {warning.message}")

    truth = z[fitted + 1 :]
    stepwise, _ = model.run(z[fitted:-1], model.state_)
    forecast = model.generate(held_out)
    still = data.nrmse(truth, z[fitted:-1], variance=z.shape[1])
    print(f"one step    NRMSE {data.nrmse(truth, stepwise, variance=z.shape[1]):.2e}; {still:.2e} if nothing changed")
    print(f"forecast    {_verdict(truth, forecast, series.exponent)}")

    options.output.mkdir(parents=True, exist_ok=True)
    stem = options.output / Path(series.name).stem
    table, picture = stem.with_suffix(".csv"), stem.with_suffix(".png")
    _write(table, series, fitted + 1, forecast * spread + mean)
    problem = _draw(picture, series, fitted + 1, forecast * spread + mean, _errors(truth, forecast))
    print(f"wrote       {table}, {problem or picture}")
    return 0


# ---- the series


def _read(options: argparse.Namespace) -> Series:
    if options.file is not None and options.series is not None:
        raise ArgumentError("give a file or --series, not both")
    if options.file is None:
        if options.columns:
            raise ArgumentError("--columns chooses from a file; give one")
        if options.length < 2:
            raise ArgumentError(f"--length must be at least 2; got {options.length}")
        name = options.series or USUAL
        made = GENERATED[name]
        return Series(name, made.make(options.length), made.columns, made.exponent)
    values, columns, note = (_from_npy if options.file.suffix.lower() == ".npy" else _from_csv)(options.file)
    chosen = _chosen(options.columns, columns) if options.columns else list(range(len(columns)))
    values, columns = values[:, chosen], [columns[k] for k in chosen]
    for place, name in zip(values.T, columns):
        bad = ~np.isfinite(place)
        if bad.any():
            raise DataError(
                f"{options.file}: column {name} holds no number in row {int(bad.argmax()) + 1} of the data. "
                "Interpolate it, cut the series there, or leave the column out with --columns."
            )
    return Series(options.file.name, values, columns, note=note)


def _from_npy(path: Path) -> tuple[Any, list[str], str]:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path} is no array in NPY format: {error}") from None
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "biuf":
        raise DataError(f"{path}: expected numbers (T,) or (T, columns); got {values.dtype} {values.shape}")
    return values.astype(np.float64), [str(k + 1) for k in range(values.shape[1])], ""


def _from_csv(path: Path) -> tuple[Any, list[str], str]:
    """Values (T, I), with NaN where a cell is no number; columns without any number are left out."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8; a series is a CSV or an NPY file") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise DataError(f"{path} is empty")
    rows: list[list[str]] = [[cell.strip() for cell in row] for row in _split(lines)]
    head = None if any(_is_number(cell) for cell in rows[0]) else rows.pop(0)
    if not rows:
        raise DataError(f"{path} has names of columns, and no row of numbers")
    width = len(rows[0])
    for number, row in enumerate(rows, 1):
        if len(row) != width or (head is not None and len(head) != width):
            raise DataError(f"{path}: row {number} of the data has {len(row)} cells, and the first row {width}")
    names = head if head is not None else [str(k + 1) for k in range(width)]
    values = np.array([[float(cell) if _is_number(cell) else math.nan for cell in row] for row in rows])
    numeric = [k for k in range(width) if np.isfinite(values[:, k]).any()]
    if not numeric:
        raise DataError(f"{path} holds no numbers")
    left_out = [names[k] for k in range(width) if k not in numeric]
    note = f"; without {', '.join(left_out)}, no numbers" if left_out else ""
    return values[:, numeric], [names[k] or str(k + 1) for k in numeric], note


def _split(lines: list[str]) -> Iterator[list[str]]:
    for delimiter in (";", "\t", ","):
        if delimiter in lines[0]:
            return csv.reader(lines, delimiter=delimiter)
    return (line.split() for line in lines)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _chosen(wanted: list[str], names: list[str]) -> list[int]:
    places = []
    for each in wanted:
        if each in names:
            places.append(names.index(each))
        elif each.isdigit() and 1 <= int(each) <= len(names):
            places.append(int(each) - 1)
        else:
            raise ArgumentError(f'there is no column "{each}"; there are {", ".join(names)}')
    return places


def _held_out(options: argparse.Namespace, series: Series) -> int:
    if options.forecast is None:
        usual = GENERATED[series.name].held_out if options.file is None else 500
        return min(usual, max(1, len(series.values) // 5))
    if options.forecast < 1:
        raise ArgumentError(f"--forecast must be at least 1; got {options.forecast}")
    return int(options.forecast)


def _scale(series: Series, fitted: int) -> tuple[Any, Any]:
    known = series.values[:fitted]
    mean, spread = known.mean(axis=0), known.std(axis=0)
    constant = np.ptp(known, axis=0) == 0
    if constant.any():
        name = series.columns[int(constant.argmax())]
        raise DataError(f"{series.name}: column {name} does not change in the steps to fit. Leave it out: --columns")
    return mean, spread


# ---- the model


def _model(options: argparse.Namespace) -> Any:
    from ..esn import ESN

    usual = DEFAULTS if options.file is not None else DEFAULTS | GENERATED[options.series or USUAL].settings
    given = {name: getattr(options, name) for name in DEFAULTS if getattr(options, name) is not None}
    return ESN(
        options.units,
        **(usual | given),
        washout=options.washout,
        backend=backends.resolve(options.backend).name,
        random_state=options.seed,
    )


def _fit(model: Any, z: Any, ridge: float | None) -> float:
    """Take the steps in piece by piece, and solve; returns the ridge."""
    x, y = z[:-1], z[1:]
    tenth = len(x) // 10 if ridge is None else 0
    known = len(x) - tenth
    with LiveLine(len(x)) as line:
        state, done = None, 0
        while done < known:
            end = known if known - done < model.washout + 2 * PIECE else done + model.washout + PIECE
            model.partial_fit(x[done:end], y[done:end], state=state, solve=False)
            state, done = model.state_, end
            line.update(done, "reservoir")
        if tenth:
            line.update(done, "ridge")
            states = model.reservoir_.run(x[known:], model.state_.reservoir)[0].numpy()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of ridges that are only tried
                ridge = min(RIDGES, key=lambda each: _trial(model, each, states, y[known:]))
            model.partial_fit(x[known:], y[known:], state=state, solve=False)
        assert ridge is not None
        line.update(len(x), "readout")
        model.set_params(ridge=ridge).solve()
    return ridge


def _trial(model: Any, ridge: float, states: Any, targets: Any) -> tuple[float, float]:
    """How far closed loops from five places go astray with this ridge, errors above 1 counting as 1; and one step."""
    from ..esn import ESNState

    model.set_params(ridge=ridge).solve()
    readout = model.readout_
    length = max(1, len(targets) // 5)
    astray = 0.0
    for start in range(0, len(targets) - length, length):
        made = model.generate(length, state=ESNState(states[start], targets[start]))
        astray += float(np.minimum(_errors(targets[start + 1 : start + 1 + length], made), 1).sum())
    return astray, float(((states @ readout.weights + readout.intercept - targets) ** 2).mean())


# ---- the measures


def _errors(truth: Any, forecast: Any) -> Any:
    """The root mean square over the columns, in standard deviations, of each step."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sqrt(((truth - forecast) ** 2).mean(axis=1))


def _verdict(truth: Any, forecast: Any, exponent: float) -> str:
    ones = np.ones(truth.shape[1])
    valid = round(data.valid_prediction_time(truth, forecast, 1.0, 1.0, THRESHOLD, ones))
    all_of_it = " (all of them)" if valid == len(truth) else ""
    known = f", {valid * exponent:.1f} Lyapunov times" if exponent else ""
    short = min(84, len(truth))
    error = data.nrmse(truth[:short], forecast[:short], variance=truth.shape[1])
    return f"valid for {valid:,} steps{all_of_it}{known}; NRMSE over the first {short}: {error:.2e}"


def _columns(names: list[str]) -> str:
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return f"column{'s' if len(names) > 1 else ''} {shown}"


# ---- the files


def _write(path: Path, series: Series, first: int, forecast: Any) -> None:
    """The forecast beside the truth, in the units of the series."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *series.columns, *(f"forecast of {name}" for name in series.columns)])
        for t, (known, made) in enumerate(zip(series.values[first:], forecast), first + 1):
            writer.writerow([t, *known, *made])


def _draw(path: Path, series: Series, first: int, forecast: Any, errors: Any) -> str:
    """Draw the forecast against the truth, and its error. Returns "" or why there is no picture."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return 'no picture: matplotlib is missing (pip install "tinygrad_rnn[cli]")'
    from ..gallery import COLORS, HOUSE

    shown = min(4, len(series.columns))
    before = min(first, max(20, len(forecast) // 5))
    after = np.arange(1, len(forecast) + 1)
    with rc_context(HOUSE):
        figure = Figure(figsize=(8.0, 2.0 + 1.5 * shown), layout="constrained")
        FigureCanvasAgg(figure)
        *panels, below = figure.subplots(shown + 1, sharex=True)
        panels[0].set_title(f"{series.name}: {len(forecast):,} steps forecast in closed loop", loc="left")
        for k, axes in enumerate(panels):
            known = series.values[first - before :, k]
            axes.plot(np.arange(1 - before, len(forecast) + 1), known, color="0.35", label="truth")
            axes.plot(after, forecast[:, k], color=COLORS[1], linestyle=(0, (4, 1.5)), label="forecast")
            axes.axvline(0, color="0.6", linewidth=1)
            room = 0.3 * np.ptp(known)
            axes.set(ylabel=series.columns[k], ylim=(known.min() - room, known.max() + room))
        panels[0].legend(loc="lower right", bbox_to_anchor=(1, 0.97), ncols=2)
        below.semilogy(after, np.maximum(errors, 1e-16), color=COLORS[1])
        below.axhline(THRESHOLD, color="0.6", linewidth=1, linestyle=(0, (2, 2)))
        below.annotate("valid below", (1 - before, THRESHOLD), color="0.4", fontsize=8, va="bottom")
        below.set(xlabel="steps after the last one fitted", ylabel="error (s.d.)", xlim=(-before, len(forecast)))
        finite = errors[np.isfinite(errors) & (errors > 0)]
        if finite.size:
            below.set_ylim(max(1e-16, finite.min() / 3), min(1e3, max(3.0, finite.max() * 3)))
        figure.savefig(path, dpi=130)
    return ""
