"""Gradients of a tape, and functions that make functions: grad, vjp, jvp, jacobian, hessian, hvp, checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from . import ops
from .apply import apply, placed, sweep_namespace, watch
from .errors import ArgumentError, BackendMismatchError, GradientError, ShapeError, TapeError, UnusedSourceError
from .primitive import Primitive
from .tape import Tape, noting_user, outside, paused, state, user_line
from .tensor import Tensor, asarray

__all__ = ["checkpoint", "grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]


# ---- the tape's own methods


def _gradient(self: Tape, target: Any, sources: Any, *, cotangent: Any = None, unused: str = "raise") -> Any:
    """Return the gradient of `target` with respect to `sources`; nothing else changes.

    target: a Tensor recorded on this tape; a scalar unless `cotangent` is given.
    sources: a Tensor, or a list, tuple or dict of them: leaves or results of operations on this tape.
    cotangent: what to pull back, of the target's shape; 1 for a scalar.
    unused: "raise" raises UnusedSourceError for a source that the target never used; "zeros" gives zeros.

    Returns gradients in the structure of `sources`, each with its source's shape, dtype and backend.
    Inside an outer tape the sweep is recorded there, so the result can be differentiated again.
    """
    if unused not in ("raise", "zeros"):
        raise ArgumentError(f'unused must be "raise" or "zeros"; got {unused!r}')
    names, listed, rebuild = _flatten(sources)
    leaves = self.leaves
    places = []
    for k, source in enumerate(listed):
        leaf = leaves.get(id(source))
        if leaf is None or source._value.dtype.kind != "f":
            _check_source(names[k], source)
        places.append(_slot_of(self, source) if leaf is None else leaf[0])
    slot = _slot_of(self, target)
    if slot is None:
        raise TapeError(
            f"the target was not recorded on this tape. Compute it inside `with tg.Tape() as tape:`"
            f" from Tensors.        at {user_line()}"
        )
    seed = _seed(self, target, cotangent)
    results, found = _pulled(self, {slot: seed}, places, listed)
    if unused == "raise" and len(found) < len(set(places)):
        first = next(k for k, place in enumerate(places) if place not in found)
        raise _unused(names[first], listed[first], places[first])
    return rebuild(results)


def _backward(self: Tape, target: Any, cotangent: Any = None) -> None:
    """Add the gradients of `target` to ``.grad`` of the leaves with ``requires_grad=True``.

    A second call adds once more. Leaves that the target never used are left alone.
    """
    leaves = [leaf for _, leaf in self.leaves.values() if leaf.requires_grad]
    if not leaves:
        raise GradientError(
            "backward found no leaf that requires a gradient on this tape. "
            "Make one with tg.tensor(..., requires_grad=True) or nn.Parameter, or use tape.gradient(loss, sources)."
        )
    slot = _slot_of(self, target)
    if slot is None:
        raise TapeError(f"the target was not recorded on this tape.        at {user_line()}")
    seed = _seed(self, target, cotangent)
    _add_gradients(self, {slot: seed}, leaves)


def _jvp_on_tape(self: Tape, target: Any, sources: Any, tangents: Any) -> Any:
    """Return the directional derivative of `target` along `tangents`, by one forward sweep.

    target: a Tensor of this tape, or a list, tuple or dict of them; the result has its structure.
    sources, tangents: Tensors in matching structures and shapes.
    """
    names, listed, _ = _flatten(sources)
    directions = _matching(tangents, sources, "sources", "tangents")
    _, targets, rebuild = _flatten(target)
    seeds: dict[Any, Any] = {}
    for name, source, direction in zip(names, listed, directions):
        _check_source(name, source)
        slot = _slot_of(self, source)
        value = _converted(direction, source, "tangent")
        if slot is not None:
            seeds[slot] = value if self.nested else value._array
    return rebuild(_pushed(self, seeds, [_slot_of(self, each) for each in targets], targets))


def _sweeping(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run with the tape, its first argument, off; with every tape off if it is one of arrays. NumPy stays quiet."""

    @functools.wraps(function)
    def run(tape: Tape, *args: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            if tape.nested:
                with outside(tape):
                    return function(tape, *args)
            before, state.tape = state.tape, None
            try:
                return function(tape, *args)
            finally:
                state.tape = before

    return run


@_sweeping
def _pulled(
    tape: Tape, seeds: dict[int, Any], places: Sequence[int | None], sources: Sequence[Tensor]
) -> tuple[list[Tensor], dict[int, Any]]:
    """Gradients with respect to the sources, which stand in these slots or nowhere; and what the sweep has found."""
    wanted: Any = [place for place in places if place is not None] if None in places else places
    found: dict[Any, Any] = tape.sweep_backward(seeds, wanted, sweep_namespace(tape))
    return _results([found.get(place) for place in places], sources, seeds.values()), found


@_sweeping
def _pushed(tape: Tape, seeds: dict[int, Any], places: Sequence[int | None], targets: Sequence[Tensor]) -> list[Tensor]:
    found: dict[Any, Any] = tape.sweep_forward(seeds, sweep_namespace(tape))
    return _results([found.get(place) for place in places], targets, seeds.values())


@_sweeping
def _add_gradients(tape: Tape, seeds: dict[int, Any], leaves: Sequence[Tensor]) -> None:
    """Add to ``.grad`` of the leaves that the sweep reaches."""
    places = [tape.leaves[id(leaf)][0] for leaf in leaves]
    found = tape.sweep_backward(seeds, places, sweep_namespace(tape))
    reached = [(found[place], leaf) for place, leaf in zip(places, leaves) if place in found]
    results = _results([value for value, _ in reached], [leaf for _, leaf in reached], seeds.values())
    for (_, leaf), new in zip(reached, results):
        _accumulate(leaf, new)


def _accumulate(leaf: Tensor, new: Tensor) -> None:
    leaf._grad = new if leaf.grad is None else leaf.grad + new


def _watch(self: Tape, x: Any) -> Tensor:
    """Return a Tensor with the value of `x` that is a source of its own on this tape.

    Two watched copies of one Tensor have separate gradients. Used by the transforms below.
    """
    return watch(self, asarray(x))


Tape.gradient = _gradient
Tape.backward = _backward
Tape.jvp = _jvp_on_tape
Tape.watch = _watch


def _flatten(sources: Any) -> tuple[Sequence[Any], Sequence[Any], Callable[[list[Any]], Any]]:
    """Names, Tensors, and what makes the same structure of other Tensors."""
    if isinstance(sources, tuple) and hasattr(sources, "_fields"):
        kind = type(sources)
        return list(sources._fields), list(sources), lambda values: kind(*values)
    if isinstance(sources, (list, tuple)):
        form: Any = type(sources)
        return range(len(sources)), sources, form
    if isinstance(sources, dict):
        keys = list(sources)
        return keys, list(sources.values()), lambda values: dict(zip(keys, values))
    return [None], [sources], lambda values: values[0]


def _matching(given: Any, like: Any, what: str, kind: str) -> Sequence[Any]:
    """The leaves of `given` in the order of those of `like`: one for a Tensor, by key for a dict."""
    if isinstance(like, Tensor):
        return [given]
    names, listed, _ = _flatten(like)
    if isinstance(like, dict) and isinstance(given, dict):
        if missing := [name for name in names if name not in given]:
            raise ShapeError(f"{kind} lack {', '.join(map(repr, missing))}; give one for each of the {what}")
        given = {name: given[name] for name in names} | given
    _, directions, _ = _flatten(given)
    if len(listed) != len(directions):
        raise ShapeError(f"got {len(listed)} {what} and {len(directions)} {kind}; give one for each")
    return directions


def _check_source(name: Any, source: Any) -> None:
    label = "the source" if name is None else f"source {name!r}"
    if not isinstance(source, Tensor):
        raise GradientError(f"{label} must be a Tensor; got {type(source).__name__}. Wrap it: tg.tensor(...)")
    if source.dtype.kind != "f":
        raise GradientError(
            f"{label} is {source.dtype}, which has no gradient. Cast it before the tape: x = x.astype(tg.float32)"
        )


def _slot_of(tape: Tape, x: Any) -> int | None:
    if not isinstance(x, Tensor):
        raise GradientError(f"expected a Tensor, got {type(x).__name__}        at {user_line()}")
    value: Any = x
    while isinstance(value, Tensor):
        if value._tape is tape.ref:
            return value._slot
        if id(value) in tape.leaves:
            return tape.leaves[id(value)][0]
        value = value._value
    return None


def _seed(tape: Tape, target: Tensor, cotangent: Any) -> Any:
    if target.dtype.kind != "f":
        raise GradientError(f"the target is {target.dtype}; only floating results have gradients")
    if cotangent is None:
        if target.size != 1:
            raise GradientError(
                f"the target has shape {target.shape}, and a gradient needs a scalar. "
                f"Sum it: tg.sum(loss), or say what to pull back: cotangent=...        at {user_line()}"
            )
        cotangent = asarray(np.ones(target.shape, target.dtype), backend=target.backend)
    else:
        cotangent = _converted(cotangent, target, "cotangent")
    return cotangent if tape.nested else cotangent._array


def _converted(given: Any, like: Tensor, what: str) -> Tensor:
    made = given if isinstance(given, Tensor) else asarray(np.array(given, dtype=like.dtype), backend=like.backend)
    found, wanted = made._value, like._value
    if made._backend is like._backend and found.shape == wanted.shape and found.dtype == wanted.dtype:
        return made
    if made.backend != like.backend:
        raise BackendMismatchError(
            f'the {what} is a "{made.backend}" tensor for a "{like.backend}" tensor; move it: .to("{like.backend}")'
        )
    if made.shape != like.shape:
        raise ShapeError(f"the {what} must have shape {like.shape}; got {made.shape}        at {user_line()}")
    return made if made.dtype == like.dtype else made.astype(like.dtype)


def _results(values: Sequence[Any], sources: Sequence[Tensor], seeds: Iterable[Any]) -> list[Tensor]:
    """Wrap what a sweep has brought to the sources, zeros where that is None.

    A view of an array, a seed, or an array that is there twice is copied, so that results share nothing.
    """
    taken = {id(seed) for seed in seeds}
    results = []
    for value, source in zip(values, sources):
        backend = source._backend
        kind = backend.array_type
        if value.__class__ is not kind:
            if value is None or isinstance(value, Tensor):
                results.append(_zeros(source) if value is None else value)
                continue
            value = backend.asarray(value)
        key, base = id(value), value.base
        if key in taken or (base is not None and isinstance(base, kind)):
            value = backend.asarray(value, copy=True)
        taken.add(key)
        results.append(placed(value, backend))
    return results


def _unused(name: Any, source: Tensor, place: int | None) -> UnusedSourceError:
    label = "the source" if name is None else f"source {name!r}"
    if place is None:
        why = "was never used while this tape recorded"
    else:
        why = "does not influence the target, or only through operations without a derivative (comparisons, argmax, …)"
    return UnusedSourceError(
        f'{label} of shape {source.shape} {why}. Pass unused="zeros" if zeros are meant.        at {user_line()}'
    )


# ---- functions from functions


def _arguments(argnums: int | Sequence[int], args: tuple[Any, ...]) -> list[int]:
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise ArgumentError(f"argnums has {number}, but the function got {len(args)} positional arguments")
    return [number % len(args) for number in numbers]


def value_and_grad(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """Make a function that returns ``(fn(...), gradient)``.

    fn: Tensors to a scalar Tensor, or ``(scalar, anything)`` with ``has_aux=True``.
    argnums: the positional argument(s) to differentiate: a Tensor, or a list, tuple or dict of them.
    Returns the value and the gradient(s), a tuple for several argnums. Arguments that the
    value never used get zeros.

    >>> import tinygrad_rnn as tg
    >>> value, gradient = tg.value_and_grad(lambda x: tg.sum(x**3))(tg.tensor([1.0, 2.0]))
    >>> value.item(), gradient.tolist()
    (9.0, [3.0, 12.0])
    """

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        numbers = _arguments(argnums, args)
        with Tape() as tape:
            call = list(args)
            for number in numbers:
                call[number] = _watched(tape, args[number])
            out = fn(*call, **kwargs)
        value, aux = out if has_aux else (out, None)
        sources = [call[number] for number in numbers]
        _check_scalar(value)
        if _slot_of(tape, value) is None:
            gradients = [_zeros(each) for each in sources]
        else:
            gradients = _gradients_together(tape, value, sources)
        value = _below(tape, value)
        aux = _below_all(tape, aux)
        result = gradients[0] if isinstance(argnums, int) else tuple(gradients)
        return ((value, aux), result) if has_aux else (value, result)

    return wrapped


def grad(fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """Make the gradient function of a scalar function. Arguments as in `value_and_grad`.

    >>> import tinygrad_rnn as tg
    >>> tg.grad(tg.grad(lambda x: x**3))(tg.tensor(2.0)).item()
    12.0
    """
    both = value_and_grad(fn, argnums, has_aux=has_aux)

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(fn: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Return ``fn(*primals)`` and a function from a cotangent of it to the cotangents of the primals.

    >>> import tinygrad_rnn as tg
    >>> y, pull = tg.vjp(lambda x: tg.exp(x), tg.tensor([0.0, 0.0]))
    >>> pull(tg.tensor([1.0, 2.0]))[0].tolist()
    [1.0, 2.0]
    """
    with Tape() as tape:
        boxes = [_watched(tape, primal) for primal in primals]
        out = fn(*boxes)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        _, outs, _ = _flatten(out)
        cotangents = _matching(cotangent, out, "outputs", "cotangents")
        flat = [_flatten(box) for box in boxes]
        sources = [each for _, listed, _ in flat for each in listed]
        return tuple(_regrouped(flat, _pull_many(tape, outs, cotangents, sources)))

    return _below_all(tape, out), pull


def jvp(fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Return ``fn(*primals)`` and its directional derivative along the tangents (forward mode).

    >>> import tinygrad_rnn as tg
    >>> y, dy = tg.jvp(tg.square, [tg.tensor([3.0])], [tg.tensor([1.0])])
    >>> y.tolist(), dy.tolist()
    ([9.0], [6.0])
    """
    if not isinstance(primals, (list, tuple)) or not isinstance(tangents, (list, tuple)):
        raise ArgumentError("jvp takes a sequence of primals and a sequence of tangents: jvp(f, [x], [dx])")
    if len(primals) != len(tangents):
        raise ShapeError(f"jvp got {len(primals)} primals and {len(tangents)} tangents; give one for each")
    with Tape() as tape:
        boxes = [_watched(tape, primal) for primal in primals]
        out = fn(*boxes)
    sources = [each for box in boxes for each in _flatten(box)[1]]
    directions = [
        each for box, tangent in zip(boxes, tangents) for each in _matching(tangent, box, "primals", "tangents")
    ]
    return _below_all(tape, out), tape.jvp(out, sources, directions)


def jacobian(fn: Callable[..., Any], argnum: int = 0, *, mode: str = "reverse") -> Callable[..., Tensor]:
    """Make the Jacobian function: ``J[i..., j...] = d fn(x)[i...] / d x[j...]``.

    mode: "reverse" takes one sweep for each output entry; "forward" one for each input entry.
    Returns a function whose value has shape ``fn(x).shape + x.shape``.

    >>> import tinygrad_rnn as tg
    >>> tg.jacobian(lambda x: x * x)(tg.tensor([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    if mode not in ("reverse", "forward"):
        raise ArgumentError(f'mode must be "reverse" or "forward"; got {mode!r}')

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Tensor:
        number = _arguments(argnum, args)[0]
        call = list(args)
        with Tape() as tape:
            x = call[number] = tape.watch(args[number])
            y = fn(*call, **kwargs)
        _check_source(None, x)
        if not isinstance(y, Tensor):
            raise GradientError(f"jacobian needs a function that returns one Tensor; got {type(y).__name__}")
        over = y if mode == "reverse" else x
        rows = []
        for basis in np.eye(over.size, dtype=over.dtype).reshape(over.size, *over.shape):
            one = asarray(basis, backend=over.backend)
            if mode == "forward":
                rows.append(tape.jvp(y, x, one))
            elif _slot_of(tape, y) is None:
                rows.append(_zeros(x))
            else:
                rows.append(tape.gradient(y, x, cotangent=one, unused="zeros"))
        if not rows:
            return asarray(np.zeros(y.shape + x.shape, y.dtype), backend=x.backend)
        table = ops.stack(rows)
        if mode == "forward":
            table = ops.moveaxis(table, 0, -1)
        return ops.reshape(table, y.shape + x.shape)

    return wrapped


def hessian(fn: Callable[..., Any], argnum: int = 0) -> Callable[..., Tensor]:
    """Make the Hessian function of a scalar function; its value has shape ``x.shape + x.shape``.

    >>> import tinygrad_rnn as tg
    >>> tg.hessian(lambda x: tg.sum(x**3))(tg.tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacobian(grad(fn, argnum), argnum)


def hvp(fn: Callable[..., Any], primal: Any, tangent: Any) -> Any:
    """Return the product of the Hessian of a scalar function at `primal` with `tangent`.

    Forward over reverse: it costs a few gradients, never a Hessian.

    >>> import tinygrad_rnn as tg
    >>> tg.hvp(lambda x: tg.sum(x**3), tg.tensor([1.0, 2.0]), tg.tensor([1.0, 1.0])).tolist()
    [6.0, 12.0]
    """
    return jvp(grad(fn), [primal], [tangent])[1]


def checkpoint(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that keeps its inputs alone on the tape, and runs again during the backward sweep.

    Exact, for derivatives of any order and in forward mode too; Tensors that `fn` closes over
    (parameters of a Module, say) get their gradients. `fn` must be deterministic: draw random numbers outside.
    Memory falls to the arguments and results; time grows by one forward. [Griewank 1992; Chen et al. 2016]

    >>> import tinygrad_rnn as tg
    >>> f = tg.checkpoint(lambda x: tg.sum(tg.tanh(x) * x))
    >>> with tg.Tape() as tape:
    ...     x = tg.tensor([1.0, 2.0])
    ...     y = f(x)
    >>> [record.primitive.name for record in tape]
    ['checkpoint']
    """

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if state.tape is None:
            return fn(*args, **kwargs)
        outer = state.tape
        with paused(), Tape() as probe:
            call = [watch(probe, arg) if isinstance(arg, Tensor) else arg for arg in args]
            out = fn(*call, **kwargs)
        _, outs, rebuild = _flatten(out)
        if not all(isinstance(each, Tensor) for each in outs):
            raise GradientError("checkpoint needs a function that returns Tensors (one, or a list, tuple or dict)")
        closed_over = [leaf for _, leaf in probe.leaves.values()]
        params = {
            "run": functools.partial(fn, **kwargs),
            "args": [None if isinstance(arg, Tensor) else arg for arg in args],
            "closed_over": closed_over,
            "results": [each._array for each in outs],
        }
        inputs = [arg for arg in args if isinstance(arg, Tensor)]
        primitive = _checkpoint if len(outs) == 1 else _checkpoint_many
        with noting_user():
            result = apply(primitive, (*inputs, *closed_over), params, outer)
        return rebuild([result] if len(outs) == 1 else list(result))

    return wrapped


class _Checkpoint(Primitive):
    """One record for a whole function; both of its rules run the function again."""

    def pullback(self, xp: Any, g: Any, record: Any, needed: Any) -> Sequence[Any]:
        tape, places, outs = _run_again(record)
        seeds: dict[int, Any] = {}
        for out, part in zip(outs, g if isinstance(g, tuple) else (g,)):
            slot = _slot_of(tape, out)
            if part is not None and slot is not None:
                seeds[slot] = seeds[slot] + part if slot in seeds else part
        wanted = [p for p, slot in zip(places, record.inputs) if p is not None and needed[slot]]
        found = tape.sweep_backward(seeds, wanted, sweep_namespace(tape))
        return [
            found.get(place) if place is not None and needed[slot] else None
            for place, slot in zip(places, record.inputs)
        ]

    def pushforward(self, xp: Any, tangents: Sequence[Any], record: Any) -> Any:
        tape, places, outs = _run_again(record)
        seeds = {p: d for p, d in zip(places, tangents) if p is not None and d is not None}
        found = tape.sweep_forward(seeds, sweep_namespace(tape))
        slots = [_slot_of(tape, out) for out in outs]
        parts = [None if slot is None else found.get(slot) for slot in slots]
        return parts[0] if self.outputs == 1 else tuple(parts)


_RESULTS: dict[str, Any] = {"composed": lambda *inputs, **params: None}
_checkpoint = _Checkpoint("checkpoint", lambda xp, *inputs, results, **rest: results[0], **_RESULTS)
_checkpoint_many = _Checkpoint(
    "checkpoint_many", lambda xp, *inputs, results, **rest: tuple(results), outputs=2, **_RESULTS
)


def _run_again(record: Any) -> tuple[Tape, list[int | None], Sequence[Any]]:
    """Run a checkpointed function on a new tape, with the values that it saw the first time."""
    closed_over = record.params["closed_over"]
    count = len(record.values) - len(closed_over)
    given = [value if isinstance(value, Tensor) else placed(value, record.backend) for value in record.values]
    nested = any(isinstance(value, Tensor) for value in record.values)
    before = [(leaf, leaf._value) for leaf in closed_over]
    for leaf, then in zip(closed_over, record.values[count:]):
        if not isinstance(leaf._value, Tensor):  # a parameter may have been assigned since
            leaf._value = then._array if isinstance(then, Tensor) else then
    active = state.tape
    if not nested:
        state.tape = None
    try:
        with Tape() as tape:
            boxes = [watch(tape, value) for value in given[:count]]
            fill = iter(boxes)
            out = record.params["run"](*[next(fill) if arg is None else arg for arg in record.params["args"]])
    finally:
        state.tape = active
        for leaf, now in before:
            leaf._value = now
    by_value = {id(each): slot for slot, leaf in tape.leaves.values() for each in _layers(leaf)}
    places: list[int | None] = [box._slot for box in boxes]
    places += [next((by_value[id(e)] for e in _layers(leaf) if id(e) in by_value), None) for leaf in closed_over]
    return tape, places, _flatten(out)[1]


def _layers(x: Any) -> list[Tensor]:
    layers = []
    while isinstance(x, Tensor):
        layers.append(x)
        x = x._value
    return layers


# ---- small parts


def _watched(tape: Tape, argument: Any) -> Any:
    _, listed, rebuild = _flatten(argument)
    return rebuild([tape.watch(each) for each in listed])


def _below(tape: Tape, x: Any) -> Any:
    """The Tensor that remains of `x` when `tape` is gone: one level further out."""
    if isinstance(x, Tensor) and x._tape is tape.ref:
        return x._value if tape.nested else placed(x._value, x._backend)
    return x


def _below_all(tape: Tape, out: Any) -> Any:
    if not isinstance(out, (Tensor, list, tuple, dict)):
        return out
    _, listed, rebuild = _flatten(out)
    return rebuild([_below(tape, each) for each in listed])


def _check_scalar(value: Any) -> None:
    if not isinstance(value, Tensor) or value.size != 1:
        got = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise GradientError(
            f"grad needs a function that returns a scalar Tensor; it returned {got}. "
            f"Sum it: tg.sum(...), or use tg.vjp or tg.jacobian.        at {user_line()}"
        )


def _zeros(x: Any) -> Any:
    _, listed, rebuild = _flatten(x)
    return rebuild([asarray(np.zeros(each.shape, each.dtype), backend=each.backend) for each in listed])


def _pull_many(tape: Tape, outs: Sequence[Any], cotangents: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
    """Pull several cotangents back in one sweep; sources that were not reached get zeros."""
    for i, source in enumerate(sources):
        _check_source(i, source)
    seeds: dict[int, Any] = {}
    for out, cotangent in zip(outs, cotangents):
        slot = _slot_of(tape, out)
        if slot is not None:
            seed = _seed(tape, out, cotangent)
            seeds[slot] = seeds[slot] + seed if slot in seeds else seed
    places = [_slot_of(tape, source) for source in sources]
    return _pulled(tape, seeds, places, sources)[0]


def _gradients_together(tape: Tape, value: Tensor, sources: Sequence[Any]) -> list[Any]:
    flat = [_flatten(each) for each in sources]
    return _regrouped(flat, _pull_many(tape, [value], [None], [each for _, listed, _ in flat for each in listed]))


def _regrouped(flat: Sequence[Any], results: Sequence[Any]) -> list[Any]:
    """Hand a flat list of results out again to the structures that were flattened."""
    answer, at = [], 0
    for _, listed, rebuild in flat:
        answer.append(rebuild(list(results[at : at + len(listed)])))
        at += len(listed)
    return answer
