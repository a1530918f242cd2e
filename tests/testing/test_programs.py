"""Random programs: they run, print themselves, stay bounded, shrink, and have right gradients."""

import ast

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.testing.operations import SMOOTH, Operation, family
from tinygrad_rnn.testing.program import Program, programs

FIRST = settings(deadline=None, max_examples=2000, database=None, phases=[Phase.generate])
SOME = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def assert_right(program, order=1):
    """Reverse mode, forward mode and central differences agree; values and slopes of programs are of order one."""
    rng = np.random.default_rng(0)
    function, points = program, [x.numpy() for x in program.inputs]
    if order == 2:
        y = program()
        points.append(program.cotangent(y).numpy())

        def function(*args):
            return tg.concat([tg.reshape(part, (-1,)) for part in tg.vjp(program, *args[:-1])[1](args[-1])])

    points = [np.asarray(point) for point in points]
    steps = [np.asarray(rng.choice([-1, 1], point.shape) * rng.uniform(0.5, 1, point.shape)) for point in points]
    y, pull = tg.vjp(function, *map(tg.tensor, points))
    v = np.asarray(rng.choice([-1, 1], y.shape) * rng.uniform(0.5, 1, y.shape))
    gradients = pull(tg.tensor(v))
    assert [g.shape for g in gradients] == [point.shape for point in points]
    by_reverse = sum(float(np.sum(g.numpy() * u)) for g, u in zip(gradients, steps, strict=True))
    tangent = tg.jvp(function, [*map(tg.tensor, points)], [*map(tg.tensor, steps)])[1]
    assert abs(float(np.sum(v * tangent.numpy())) - by_reverse) < 1e-11 * (1 + abs(by_reverse))
    h = 1e-5
    plus, minus = (
        function(*[tg.tensor(point + sign * h * u) for point, u in zip(points, steps, strict=True)]).numpy()
        for sign in (1, -1)
    )
    by_difference = float(np.sum(v * (plus - minus))) / (2 * h)
    assert abs(by_difference - by_reverse) < 1e-6 * (1 + abs(by_reverse))


@SOME
@given(programs())
def test_a_program_has_bounded_values_and_a_gradient_for_each_input(program):
    y, gradients = program.value_and_grad()
    assert np.isfinite(y.numpy()).all() and np.abs(y.numpy()).max() <= 8
    assert 1 <= len(program.inputs) <= 3
    for x, gradient in zip(program.inputs, gradients, strict=True):
        assert gradient.shape == x.shape and gradient.dtype == x.dtype and np.isfinite(gradient.numpy()).all()


@SOME
@given(programs())
def test_the_source_is_the_program(program):
    assert repr(program) == f"\n{program.source()}"
    found = {}
    exec(compile(ast.parse(program.source()), "<pasted>", "exec"), found)
    y, gradients = program.value_and_grad()
    assert np.array_equal(found["y"].numpy(), y.numpy())
    for mine, pasted in zip(gradients, found["gradients"], strict=True):
        assert np.array_equal(mine.numpy(), pasted.numpy())


@SOME
@given(programs())
def test_gradients_of_programs_agree_with_differences(program):
    assert_right(program)


@SOME
@given(programs(dtype="float32"), st.sampled_from(["numpy"]))
def test_a_program_runs_on_a_backend_and_in_float32(program, backend):
    y, gradients = program.run(backend)
    again, gradients_again = program.value_and_grad()
    assert y.dtype == np.float32 and y.backend == backend and np.array_equal(y.numpy(), again.numpy())
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(gradients, gradients_again, strict=True))


@pytest.mark.parametrize("name", sorted(SMOOTH))
def test_every_way_of_writing_every_operation_is_right(name):
    """Its first and second derivatives, on all shapes of the family."""
    operation = SMOOTH[name]
    rng = np.random.default_rng(0)
    seen = set()
    for a in family(2):
        for b in family(2) if operation.arity == 2 else [None]:
            shapes = [s for s in (a, b) if s is not None]
            for text, _ in operation.forms(2, *shapes):
                if (text, len(a), a[-1:]) not in seen:  # one of the shapes that differ in a length before the last
                    seen.add((text, len(a), a[-1:]))
                    inputs = tuple(tg.tensor((2 * rng.integers(-32, 32, s) + 1) / 32) for s in shapes)
                    body = f"v1 = ({text.format('x0', 'x1')}) * 0.125"
                    assert_right(Program(inputs, (body,), "v1", (name,)), order=2)
    assert seen


def test_every_operation_is_reached():
    reached = set()

    @settings(deadline=None, max_examples=600, database=None, derandomize=True)
    @given(programs(nodes=(6, 12), sides=(2, 3)))
    def collect(program):
        reached.update(program.operations)

    collect()
    assert reached == set(SMOOTH)


def test_forms_lead_back_into_the_family():
    for n in (1, 2, 3):
        for operation in SMOOTH.values():
            for a in family(n):
                for b in family(n) if operation.arity == 2 else [None]:
                    given = [tg.ones(s, dtype="float64") for s in (a, b) if s is not None]
                    for text, shape in operation.forms(n, *[x.shape for x in given]):
                        names = dict(zip("ab", given))
                        found = eval(text.format("a", "b"), {"tg": tg}, names)
                        assert found.shape == shape and shape in family(n), f"{text}: {found.shape}"
                        bound = operation.bound(n, *[1.0] * operation.arity)
                        assert np.abs(found.numpy()).max() <= bound, text


def test_subexpressions_are_shared_or_not():
    def uses(program, name):
        return sum(name in _words(line) for line in program.body)

    find(programs(), lambda program: uses(program, "v1") > 2, settings=FIRST)

    @SOME
    @given(programs(share=False))
    def once(program):
        for name in [f"x{i}" for i in range(len(program.inputs))] + [f"v{i + 1}" for i in range(program.size - 1)]:
            assert uses(program, name) == 1

    once()


def _words(line):
    """The names that a statement reads; the forms of some operations write one twice."""
    return {node.id for node in ast.walk(ast.parse(line).body[0].value) if isinstance(node, ast.Name)}


def test_a_failing_program_shrinks_to_a_few_lines(monkeypatch):
    """A wrong derivative of sin, found among all operations, shrinks to that operation alone."""
    sin = tg.registry["sin"]
    for rules in ("derivatives", "local"):
        monkeypatch.setattr(sin, rules, (lambda xp, y, x: -xp.cos(x),))
    found = []

    @settings(deadline=None, max_examples=300, database=None, derandomize=True)
    @given(programs())
    def check(program):
        try:
            assert_right(program)
        except AssertionError:
            found.append(program)
            raise

    with pytest.raises(AssertionError) as caught:
        check()
    smallest = found[-1]
    assert smallest.size == 1 and "tg.sin(x0)" in smallest.body[0]
    assert [x.tolist() for x in smallest.inputs] == [0.03125]
    assert "def program(x0):" in "".join(caught.value.__notes__)


def test_my_own_primitive_and_operation_in_programs():
    tg.elementwise("cube_of_test_programs", lambda xp, x: x * x * x, derivative=lambda xp, y, x: 3 * x * x)
    try:
        own = find(programs(ops=["cube_of_test_programs"], nodes=(2, 2)), lambda program: True)
        assert own.operations == ("cube_of_test_programs",) * 2
        assert_right(own)
    finally:
        del tg.registry["cube_of_test_programs"]
    double = Operation("double", 1, lambda n, a: [("{0} + {0}", a)], lambda n, a: 2 * a)
    assert find(programs(ops=[double], inputs=(1, 1)), lambda program: True).body == ("v1 = x0 + x0",)
    with pytest.raises(tg.errors.ArgumentError, match="no operation"):
        programs(ops=["bessel"])


def test_an_error_in_a_program_shows_its_line():
    program = Program((tg.tensor([1.0, 2.0]),), ("v1 = x0 + 1", "v2 = tg.matmul(v1, tg.ones((3, 3)))"), "v2", ("", ""))
    with pytest.raises(tg.errors.ShapeError, match="<program [0-9a-f]+>:3"):
        program()
    with pytest.raises(tg.errors.ArgumentError, match="1 inputs"):
        program(*program.inputs, *program.inputs)
