"""esn: a forecast of a series that is generated or read, its files, and one clear line for whatever is wrong."""

import csv

import numpy as np
import pytest

from tinygrad_rnn import cli, data

SMALL = ["--units", "60", "--length", "800", "--forecast", "100"]


@pytest.fixture
def run(capsys, tmp_path):
    """Run the command in a folder of its own; returns its status and both outputs."""

    def call(*arguments):
        capsys.readouterr()
        return cli.main(["esn", *map(str, arguments), "--output", str(tmp_path / "out")]), *capsys.readouterr()

    return call


def wave(steps):
    t = np.arange(float(steps))
    return np.stack((np.sin(0.2 * t), 5 + np.cos(0.2 * t)), axis=1)


def valid_steps(out):
    return int(out.split("valid for ")[1].split(" steps")[0].replace(",", ""))


@pytest.mark.parametrize("name", ["mackey-glass", "lorenz", "rossler", "henon", "logistic", "mso"])
def test_every_series_is_forecast_better_than_by_its_last_value(name, run, tmp_path):
    code, out, err = run("--series", name, "--units", 100, "--length", 1500, "--forecast", 40)
    assert (code, err) == (0, "")
    assert f"series      {name}: 1,500 steps" in out
    assert "split       1,459 steps to fit, of which 100 are washout; 40 to forecast" in out
    error, still = (float(text.split()[-1]) for text in out.split("one step    ")[1].split(" if")[0].split(";"))
    assert error < 0.2 * still
    assert valid_steps(out) > (2 if name in ("henon", "logistic") else 20)
    assert (tmp_path / "out" / f"{name}.png").stat().st_size > 10_000


def test_the_ridge_that_is_chosen_is_small_without_noise_and_larger_with_it(run, tmp_path):
    chosen = []
    for noise in (0, 0.3):
        path = tmp_path / "wave.npy"
        np.save(path, wave(900) + np.random.default_rng(0).normal(size=(900, 2)) * noise)
        code, out, _ = run(path, "--units", 60)
        assert code == 0
        chosen.append(float(out.split("ridge ")[1].split(",")[0]))
    assert chosen[0] < 0.1 * chosen[1]


def test_the_forecast_is_written_in_the_units_of_the_file(run, tmp_path):
    path = tmp_path / "two waves.csv"
    x = wave(600)
    lines = ["day;sine;cosine", *(f"2024-{t};{a};{b}" for t, (a, b) in enumerate(x))]
    path.write_text("\n".join(lines))
    code, out, err = run(path, "--units", 60, "--forecast", 50, "--ridge", "1e-8")
    assert (code, err) == (0, "")
    assert "columns sine, cosine; without day, no numbers" in out
    assert "ridge 1e-08\n" in out
    assert valid_steps(out) == 50
    with (tmp_path / "out" / "two waves.csv").open() as file:
        head, *rows = csv.reader(file)
    assert head == ["step", "sine", "cosine", "forecast of sine", "forecast of cosine"]
    table = np.array(rows, dtype=float)
    assert table[:, 0].tolist() == list(range(551, 601))
    assert np.abs(table[:, 1:3] - x[550:]).max() < 1e-12
    assert np.abs(table[:, 3:] - x[550:]).max() < 0.05


@pytest.mark.parametrize("text", ["{a},{b}", "{a}\t{b}", "{a} {b}", "{a} ; {b}"])
def test_separators_and_a_missing_head(text, run, tmp_path):
    path = tmp_path / "plain.txt"
    path.write_text("# two waves\n" + "\n".join(text.format(a=a, b=b) for a, b in wave(400)) + "\n\n")
    code, out, _ = run(path, "--units", 40, "--forecast", 30)
    assert code == 0
    assert "400 steps, columns 1, 2\n" in out


def test_columns_are_chosen_by_name_or_number(run, tmp_path):
    path = tmp_path / "wave.csv"
    path.write_text("a,b,c\n" + "\n".join(f"{a},,{b}" for a, b in wave(400)))
    assert "column a\n" in run(path, "--columns", "a", "--units", 40)[1].replace("; without b, no numbers", "")
    assert "columns c, a" in run(path, "--columns", 2, "a", "--units", 40)[1]
    code, _, err = run(path, "--columns", "d")
    assert (code, err) == (1, 'error: there is no column "d"; there are a, c\n')


def test_one_column_of_an_npy_file_needs_no_second_axis(run, tmp_path):
    np.save(tmp_path / "x.npy", data.mackey_glass(700)[:, 0])
    code, out, _ = run(tmp_path / "x.npy", "--units", 60)
    assert code == 0
    assert "560 steps to fit" in out.replace("559", "560")


def test_the_seed_decides(run):
    first = run(*SMALL, "--seed", 1)[1]
    assert [line for line in run(*SMALL, "--seed", 1)[1].splitlines() if "fit  " not in line] == [
        line for line in first.splitlines() if "fit  " not in line
    ]
    assert run(*SMALL, "--seed", 2)[1] != first


def test_without_matplotlib_there_is_no_picture(run, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    code, out, _ = run(*SMALL)
    assert code == 0
    assert "no picture: matplotlib is missing" in out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mackey-glass.csv"]


def test_an_ill_conditioned_solve_is_noted(run, tmp_path):
    np.save(tmp_path / "x.npy", wave(500))
    code, out, err = run(tmp_path / "x.npy", "--units", 100, "--ridge", "0")
    assert (code, err) == (0, "")
    assert "note        ridge regression of" in out


def written(path, text):
    path.write_text(text)
    return path


BAD = {
    "a file and a series": (lambda p: [p / "x.csv", "--series", "mso"], "give a file or --series, not both"),
    "columns of nothing": (lambda p: ["--columns", "a"], "--columns chooses from a file"),
    "no file": (lambda p: [p / "absent.csv"], "No such file or directory"),
    "empty": (lambda p: [written(p / "x.csv", "")], "x.csv is empty"),
    "a head only": (lambda p: [written(p / "x.csv", "a,b")], "no row of numbers"),
    "words": (lambda p: [written(p / "x.csv", "a,b\nc,d")], "holds no numbers"),
    "ragged": (lambda p: [written(p / "x.csv", "1,2\n3\n")], "row 2 of the data has 1 cells, and the first row 2"),
    "a gap": (lambda p: [written(p / "x.csv", "a,b\n1,2\n3,\n")], "column b holds no number in row 2"),
    "NaN": (lambda p: [written(p / "x.csv", "1\nnan\n3\n")], "column 1 holds no number in row 2"),
    "bytes": (lambda p: [(p / "x.csv", (p / "x.csv").write_bytes(b"\xff\xfe\x00"))[0]], "not text in UTF-8"),
    "no NPY": (lambda p: [written(p / "x.npy", "1,2")], "no array in NPY format"),
    "a cube": (lambda p: [(p / "x.npy", np.save(p / "x.npy", np.zeros((2, 2, 2))))[0]], "got float64 (2, 2, 2)"),
    "constant": (lambda p: [written(p / "x.csv", "a,b\n" + "1,2\n" * 300)], "column a does not change"),
    "too short": (lambda p: [written(p / "x.csv", "1\n2\n" * 20)], "there are 0 to fit"),
    "washout": (lambda p: [*SMALL, "--washout", "-1"], "a washout of -1"),
    "forecast": (lambda p: ["--forecast", "0"], "--forecast must be at least 1"),
    "length": (lambda p: ["--length", "1"], "--length must be at least 2"),
    "leak": (lambda p: [*SMALL, "--leak", "2"], "leak lies in (0, 1]"),
    "units": (lambda p: [*SMALL, "--units", "0"], "units"),
    "topology": (lambda p: [*SMALL, "--topology", "star"], "topology is"),
    "ridge": (lambda p: [*SMALL, "--ridge", "-1"], "ridge is a finite number"),
    "backend": (lambda p: [*SMALL, "--backend", "abacus"], "abacus"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_in_one_line(name, run, tmp_path):
    make, message = BAD[name]
    code, _, err = run(*make(tmp_path))
    assert code == 1
    assert err.startswith("error: ")
    assert message in err
