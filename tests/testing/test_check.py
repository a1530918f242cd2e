"""check_gradients: right gradients pass, wrong ones fail, and what cannot be checked says so."""

import time

import numpy as np
import pytest
from testing.planted import planted, wrong_square

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError, GradientError
from tinygrad_rnn.testing import (
    GradientCheckError,
    autograd_function,
    check_gradients,
    jax_function,
    torch_function,
)

A = np.array([[0.3, -1.2, 2.5], [4.1, 0.7, -0.9]])
B = np.array([0.6, -2.2, 1.1])
S = np.array([[1.5, 0.2, -0.3], [0.1, 2.0, 0.4], [-0.2, 0.3, 1.8]])

RIGHT = {
    "tanh": (tg.tanh, A),
    "two inputs": (lambda x, y: x * tg.exp(-y), A, A[::-1] * 0.5),
    "broadcast": (lambda x, y: x / (1 + y * y), A, B),
    "broadcast a column": (tg.multiply, A[:, :1], B),
    "0-d": (tg.sin, np.array(0.7)),
    "a Python number": (tg.sin, 0.7),
    "empty": (tg.exp, np.zeros((0, 3))),
    "0-d against a matrix": (tg.divide, A, np.array(3.0)),
    "matmul": (tg.matmul, A, A.T),
    "softmax": (lambda x: tg.softmax(x, axis=-1), A),
    "inv": (tg.inv, S),
    "several results": (lambda x: (tg.exp(x), tg.sum(x * x)), A),
    "an input that is not used": (lambda x, y: x * x, A, B),
    "an integer input": (lambda x, i: tg.take(x, i, axis=1), A, np.array([2, 0, 0])),
    "constant": (lambda x: tg.ones((2,), dtype="float64") + 0 * tg.sum(x), A),
    "the input itself": (lambda x: x, A),
    "zero inputs": (lambda x: tg.exp(x) * x, np.zeros(3)),
    "some zeros": (lambda x: tg.cos(x), np.array([0.0, 1e3, -1e-3])),
    "large": (lambda x: tg.sum(tg.tanh(x @ tg.asarray(np.eye(40) * 0.3))), np.linspace(-1, 1, 2000).reshape(50, 40)),
    "strided": (tg.square, np.arange(1.0, 13.0).reshape(3, 4)[::2, ::3]),
    "broadcast memory": (tg.square, np.broadcast_to(B, (2, 3))),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_gradients_pass(name):
    fn, *inputs = RIGHT[name]
    report = check_gradients(fn, *inputs)
    assert report, str(report)
    assert report.resolution < 1e-7


@pytest.mark.parametrize("name", ["tanh", "broadcast", "matmul", "softmax", "several results", "0-d against a matrix"])
def test_right_gradients_pass_at_order_two(name):
    fn, *inputs = RIGHT[name]
    report = check_gradients(fn, *inputs, order=2)
    assert report, str(report)


@pytest.mark.parametrize("exhaustive", [True, False, "auto"])
@pytest.mark.parametrize("modes", [("rev",), ("fwd",), ("dot",), ("rev", "fwd")])
def test_every_mode_runs_alone(exhaustive, modes):
    for fn, *inputs in (RIGHT["broadcast"], RIGHT["matmul"]):
        assert check_gradients(fn, *inputs, exhaustive=exhaustive, modes=modes)


WRONG = {
    "sign": (lambda xp, x: xp.sin(x), lambda xp, g, y, x: -g * xp.cos(x)),
    "zero": (lambda xp, x: xp.sin(x), lambda xp, g, y, x: 0 * g),
    "factor": (lambda xp, x: x * x, lambda xp, g, y, x: g * x),
    "a millionth": (lambda xp, x: xp.exp(x), lambda xp, g, y, x: g * y * (1 + 1e-6)),
    "missing square": (lambda xp, x: xp.tanh(x), lambda xp, g, y, x: g * (1 - y)),
    "cotangent forgotten": (lambda xp, x: x * x * x, lambda xp, g, y, x: 3 * x * x + 0 * g),
    "one entry": (lambda xp, x: x * x, lambda xp, g, y, x: xp.where(x == A[1, 1] * 0.5, 1.99 * g * x, 2 * g * x)),
    "transposed": (lambda xp, x: xp.matmul(x, xp.permute_dims(x, (1, 0))), lambda xp, g, y, x: 2 * xp.matmul(g, x)),
    "fewer terms": (
        lambda xp, x: xp.exp(x) / xp.sum(xp.exp(x), axis=1, keepdims=True),
        lambda xp, g, y, x: y * (1 - y) * g,
    ),
    "mean for sum": (lambda xp, x: xp.sum(x, axis=0), lambda xp, g, y, x: xp.broadcast_to(g / x.shape[0], x.shape)),
    "forward for backward": (
        lambda xp, x: xp.cumulative_sum(x, axis=1),
        lambda xp, g, y, x: xp.cumulative_sum(g, axis=1),
    ),
    "not a number": (lambda xp, x: x * x, lambda xp, g, y, x: g * x * float("nan")),
    "infinite": (lambda xp, x: x * x, lambda xp, g, y, x: g * x * float("inf")),
    "leaky": (lambda xp, x: xp.maximum(x, 0), lambda xp, g, y, x: xp.where(x > 0, g, 0.01 * g)),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("exhaustive", ["auto", False])
def test_wrong_gradients_fail_by_name(name, exhaustive):
    forward, vjp = WRONG[name]
    with planted(name, forward, vjp=vjp, jvp=lambda xp, d, y, x: d) as wrong:
        for seed in range(5):
            report = check_gradients(
                lambda x: tg.tanh(wrong(x * 0.5)), A, modes=("rev",), exhaustive=exhaustive, seed=seed
            )
            assert report.verdict == "fail", str(report)
            assert report.primitive == f"planted_{name}"


def test_wrong_derivatives_of_elementwise_primitives_fail_in_both_modes():
    with wrong_square(1.001) as wrong:
        for modes in (("rev",), ("fwd",)):
            report = check_gradients(wrong, A, modes=modes)
            assert report.verdict == "fail" and report.mode == modes[0]
            assert report.got == pytest.approx(1.001 * report.expected, rel=1e-8)
            assert report.expected == pytest.approx(2 * A[report.index])


def test_a_missing_sum_over_a_broadcast_axis_fails():
    vjp = (lambda xp, g, y, a, b: g * b, lambda xp, g, y, a, b: (g * a)[:1] * 1.0)
    with planted(
        "broadcast", lambda xp, a, b: a * b, vjp=vjp, jvp=lambda xp, da, db, y, a, b: da * b + a * db
    ) as wrong:
        report = check_gradients(wrong, A, B)
    assert report.verdict == "fail" and report.input == 1


def test_rules_that_disagree_with_each_other_fail_the_dot_test():
    with planted(
        "sweeps", lambda xp, x: x * x, vjp=lambda xp, g, y, x: 2 * g * x, jvp=lambda xp, d, y, x: d * x
    ) as wrong:
        assert check_gradients(wrong, A, modes=("rev",))
        report = check_gradients(wrong, A, modes=("dot",))
    assert report.verdict == "fail" and report.mode == "dot"


def test_a_value_that_leaves_the_tape_fails_without_a_guilty_primitive():
    report = check_gradients(lambda x: x * x.detach(), A)
    assert report.verdict == "fail" and report.primitive == "" and "left the tape" in str(report)


def test_a_wrong_second_derivative_fails_at_order_two_only():
    with wrong_square(0.5) as inner:
        # right on arrays; on Tensors of an outer tape the rule is made of a wrong primitive
        vjp = lambda xp, g, y, x: 3 * g * (inner(x) if isinstance(x, tg.Tensor) else x * x)
        with planted("cube", lambda xp, x: x * x * x, vjp=vjp, jvp=lambda xp, d, y, x: 3 * d * x * x) as cube:
            assert check_gradients(cube, A)
            report = check_gradients(cube, A, order=2)
    assert report.verdict == "fail" and report.order == 2
    assert report.primitive == "planted_cube"


def test_a_zeroed_gradient_of_a_small_function_is_caught_every_time():
    with planted("small", lambda xp, x: 1e-5 * xp.sin(x), derivative=lambda xp, y, x: 0 * x) as wrong:
        rng = np.random.default_rng(0)
        for seed in range(120):
            x = rng.uniform(-3, 3, tuple(rng.integers(1, 5, 2)))
            assert check_gradients(wrong, x, seed=seed).verdict == "fail"
            if seed < 20:
                assert check_gradients(lambda x: tg.sum(wrong(x)), x, seed=seed).verdict == "fail"


def test_a_swap_of_two_rows_of_a_large_jacobian_is_caught_every_time():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((2000, 2000))
    for seed in range(4):
        swapped = np.arange(2000)
        i, j = rng.choice(2000, 2, replace=False)
        swapped[[i, j]] = j, i
        report = check_gradients(
            lambda x: matrix @ x, rng.standard_normal(2000), seed=seed, vjp=lambda v, x, s=swapped: (matrix[s].T @ v,)
        )
        assert report.verdict == "fail" and report.structure == "projection"
    assert check_gradients(lambda x: matrix @ x, rng.standard_normal(2000), vjp=lambda v, x: (matrix.T @ v,))


def test_a_failing_projection_names_an_entry_that_is_wrong():
    weights = np.ones(5000)
    weights[1234] = 1.5
    report = check_gradients(
        lambda x: np.sin(x), np.linspace(0.1, 1, 5000), vjp=lambda v, x: (v * np.cos(x) * weights,)
    )
    assert report.verdict == "fail" and report.index == (1234,)
    assert report.got == pytest.approx(1.5 * report.expected)


def test_a_rate_of_false_alarms_of_zero_on_random_programs():
    functions = [
        tg.tanh,
        tg.sigmoid,
        tg.exp,
        tg.square,
        lambda x: tg.softmax(x, axis=-1),
        lambda x: x - tg.mean(x, axis=0),
    ]
    rng = np.random.default_rng(5)
    verdicts = []
    for seed in range(300):
        chosen = rng.integers(0, len(functions), 3)

        def fn(a, b):
            for number in chosen:  # noqa: B023
                a, b = functions[number](a) * b, a / (1 + b * b)
            return a

        x, y = (rng.choice([-1.0, 1.0], (2, 3)) * 10 ** rng.uniform(-3, 1, (2, 3)) for _ in range(2))
        verdicts.append(check_gradients(fn, x, y, seed=seed, exhaustive=bool(seed % 2)).verdict)
    assert verdicts.count("fail") == 0 and verdicts.count("pass") > 290


# ---- kinks


@pytest.mark.parametrize("exhaustive", ["auto", True, False])
def test_a_kink_is_inconclusive_even_where_the_numeric_derivative_is_zero(exhaustive):
    report = check_gradients(tg.abs, np.zeros(1), exhaustive=exhaustive)
    assert report.verdict == "inconclusive" and report.kink and not report


def test_a_kink_beside_smooth_entries_is_found():
    assert check_gradients(tg.abs, np.array([0.0, 1.0])).kink
    assert check_gradients(lambda x: tg.sum(tg.abs(x)), np.array([0.0, 1.0])).kink
    assert check_gradients(tg.abs, np.array([0.1, 1.0]))


def test_subgradients_pass_between_the_slopes_and_fail_outside():
    assert check_gradients(tg.abs, np.array([0.0, 1.0]), kinks="subgradient")
    assert check_gradients(tg.maximum, A, A, kinks="subgradient")
    with planted(
        "abs", lambda xp, x: xp.abs(x), derivative=lambda xp, y, x: xp.where(x < 0, -1.0, 1.0 + (x == 0))
    ) as wrong:
        report = check_gradients(wrong, np.array([0.0, 1.0]), kinks="subgradient")
    assert report.verdict == "fail" and report.index == (0,)


def test_kinks_raise_on_request():
    with pytest.raises(GradientCheckError, match="kink"):
        check_gradients(tg.relu, np.array([0.0]), kinks="raise")


def test_a_wrong_entry_beside_a_kink_still_fails():
    with planted("kinked", lambda xp, x: xp.abs(x), derivative=lambda xp, y, x: 2 * xp.sign(x)) as wrong:
        assert check_gradients(wrong, np.array([0.0, 1.0])).verdict == "fail"


def test_the_edge_of_a_domain_is_inconclusive():
    assert check_gradients(tg.sqrt, np.array([0.0])).verdict == "inconclusive"


# ---- methods


def test_the_complex_step_sees_what_differences_cannot():
    def hidden(x):
        return 1e12 + tg.sin(x)

    assert check_gradients(hidden, A, method="fd").verdict == "inconclusive"
    assert check_gradients(hidden, A)
    with planted("hidden", lambda xp, x: xp.sin(x), derivative=lambda xp, y, x: 0 * x) as wrong:
        assert check_gradients(lambda x: 1e12 + wrong(x), A).verdict == "inconclusive"


def test_the_complex_step_alone():
    assert check_gradients(lambda x: tg.sum(tg.exp(x) * x), A, method="complex").resolution < 1e-13
    with pytest.raises(ArgumentError, match="abs"):
        check_gradients(tg.abs, A, method="complex")


def test_the_taylor_remainder_tells_right_from_wrong():
    assert check_gradients(lambda x: tg.tanh(x) * x, A, method="taylor")
    assert check_gradients(tg.matmul, A, A.T, method="taylor")
    with wrong_square(1.01) as wrong:
        report = check_gradients(wrong, A, method="taylor")
    assert report.verdict == "fail" and "order 1" in report.reason


def test_tolerances_can_be_loosened_for_rules_that_approximate():
    with wrong_square(1.001) as approximate:  # off by a thousandth: inside a hundredth, outside 1e-5
        assert check_gradients(approximate, A, rtol=1e-2)
        assert check_gradients(approximate, A, atol=1.0)
        assert check_gradients(approximate, A, rtol=1e-5).verdict == "fail"
        assert check_gradients(approximate, A, rtol=1e-2).resolution > 1e-3


def test_wrt_chooses_the_inputs():
    with planted("half", lambda xp, a, b: a * b, derivative=(lambda xp, y, a, b: b, lambda xp, y, a, b: b)) as wrong:
        assert check_gradients(wrong, A, B, wrt=0)
        assert check_gradients(wrong, A, B, wrt=[1]).input == 1


def test_the_same_seed_gives_the_same_report():
    one, two = (check_gradients(tg.matmul, A, A.T, seed=3) for _ in range(2))
    assert str(one) == str(two) and one.resolution != check_gradients(tg.matmul, A, A.T, seed=4).resolution


# ---- bad input


def test_a_function_that_returns_no_tensor_is_named():
    with pytest.raises(DTypeError, match="returned a ndarray"):
        check_gradients(lambda x: x.numpy() if x._tape is None else np.ones(2), A)
    with pytest.raises(DTypeError, match="returned a NoneType"):
        check_gradients(lambda x: None, A)


def test_integer_and_float32_results_are_refused():
    with pytest.raises(DTypeError, match="int64"):
        check_gradients(lambda x: tg.argmax(x), A)
    with pytest.raises(DTypeError, match="float32"):
        check_gradients(lambda x: x.astype("float32"), A)


def test_nan_is_refused_and_infinity_is_inconclusive():
    with pytest.raises(DataError, match="NaN"):
        check_gradients(tg.log, np.array([-1.0]))
    with pytest.raises(DataError, match="input 0"):
        check_gradients(tg.exp, np.array([np.nan]))
    assert check_gradients(tg.exp, np.array([1.0, 800.0])).verdict == "inconclusive"


def test_a_random_function_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(GradientCheckError, match="not deterministic"):
        check_gradients(lambda x: x * rng.random(), A)
    check_gradients(lambda x: x * rng.random(), A, determinism=False)


def test_a_shape_that_changes_is_refused():
    calls = []

    def growing(x):
        calls.append(1)
        return tg.concat([x] * len(calls))

    with pytest.raises(GradientCheckError, match="shape"):
        check_gradients(growing, B)
    with pytest.raises(GradientCheckError, match="shape"):
        check_gradients(lambda x: x[x.numpy() > 0.6], B, determinism=False)


def test_writing_to_an_input_is_refused():
    def writes(x):
        x._array[0] += 1.0
        return x * x

    with pytest.raises(GradientCheckError, match="written to"):
        check_gradients(writes, B.copy())
    with pytest.raises(GradientCheckError, match="written to"):
        check_gradients(lambda x: np.square(x, out=x), B.copy(), vjp=lambda v, x: (2 * v * x,))


def test_gradients_that_share_memory_are_refused():
    with pytest.raises(GradientCheckError, match="shares memory"):
        check_gradients(lambda x: x + 0.0, B, vjp=lambda v, x: (v,))
    with pytest.raises(GradientCheckError, match="shares memory"):
        check_gradients(lambda x, y: x * y, B, B + 1, vjp=lambda v, x, y: (v * y, x))
    assert check_gradients(lambda x: x + 0.0, B, vjp=lambda v, x: (v,), aliasing=False)


def test_a_rule_that_writes_to_its_cotangent_is_refused():
    def greedy(v, x):
        v *= 2
        return (v * x,)

    with pytest.raises(GradientCheckError, match="cotangent"):
        check_gradients(lambda x: x * x, B, vjp=greedy)


def test_a_vjp_of_the_wrong_form_is_refused():
    with pytest.raises(GradientCheckError, match="shape"):
        check_gradients(lambda x: x * x, A, vjp=lambda v, x: (v[0],))
    with pytest.raises(GradientCheckError, match="returned 3"):
        check_gradients(lambda x: x * x, A, vjp=lambda v, x: (v, v, v))


@pytest.mark.parametrize(
    "options",
    [
        {"modes": ("back",)},
        {"modes": ()},
        {"order": 3},
        {"method": "exact"},
        {"exhaustive": "yes"},
        {"kinks": "ignore"},
        {"directions": 0},
        {"rtol": -1.0},
        {"wrt": 7},
        {"wrt": []},
        {"vjp": lambda v, x: (v,), "order": 2},
        {"vjp": lambda v, x: (v,), "modes": ("fwd",)},
        {"vjp": lambda v, x: (v,), "method": "complex"},
    ],
)
def test_unknown_options_are_refused(options):
    with pytest.raises(ArgumentError):
        check_gradients(tg.exp, A, **options)


def test_inputs_without_gradients_are_refused():
    with pytest.raises(ArgumentError, match="floating"):
        check_gradients(lambda i: i * 1.0, np.arange(3))
    with pytest.raises(GradientError, match="int64"):
        check_gradients(lambda x, i: tg.take(x, i), B, np.arange(3), wrt=1)
    with pytest.raises(DTypeError, match="complex"):
        check_gradients(tg.exp, np.ones(2, complex))
    with pytest.raises(ArgumentError, match="function"):
        check_gradients(A, tg.exp)


# ---- functions of other frameworks


def test_a_numpy_function_with_its_own_rules():
    softmax = lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    vjp = lambda v, x: (softmax(x) * (v - (v * softmax(x)).sum(-1, keepdims=True)),)
    jvp = lambda u, x: softmax(x) * (u[0] - (u[0] * softmax(x)).sum(-1, keepdims=True))
    assert check_gradients(softmax, A, vjp=vjp, jvp=jvp)
    assert check_gradients(softmax, A, vjp=lambda v, x: (softmax(x) * v,)).verdict == "fail"
    assert check_gradients(softmax, A, jvp=lambda u, x: 2 * jvp(u, x)).mode == "fwd"


def test_several_results_and_an_unused_input_of_a_numpy_function():
    fn = lambda x, y: (x * x, np.sum(x))
    assert check_gradients(fn, A, B, vjp=lambda v, x, y: (2 * x * v[0] + v[1], None))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.func imports deprecated parts of torch
def test_a_torch_function():
    torch = pytest.importorskip("torch")
    assert check_gradients(torch_function(lambda x, w: torch.logsumexp(x @ w, dim=1)), A, A.T)
    assert check_gradients(torch_function(torch.tanh, forward=True), A)

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0].cos() * 1.001

    assert check_gradients(torch_function(Wrong.apply), A).verdict == "fail"


def test_a_jax_function():
    jax = pytest.importorskip("jax")
    assert check_gradients(jax_function(jax.nn.softmax), A)


def test_an_autograd_function():
    anp = pytest.importorskip("autograd.numpy")
    assert check_gradients(autograd_function(lambda x, y: anp.tanh(x * y)), A, B)


# ---- cost


def test_a_check_of_a_small_function_takes_less_than_a_millisecond():
    for fn, *inputs in ((tg.tanh, A), (tg.multiply, A, A), (lambda x: tg.exp(x) * x, B)):
        best = np.inf
        for _ in range(60):
            start = time.perf_counter()
            check_gradients(fn, *inputs)
            best = min(best, time.perf_counter() - start)
        assert best < 1e-3
