"""A domain for every differentiable primitive: inputs at which it is smooth, and how to call it on them.

`case` draws one with a generator and needs no Hypothesis; `cases` is the same as a Hypothesis strategy. The table is
in `domain_table`; `register_domain` adds to it.

>>> import numpy as np
>>> from tinygrad_rnn.testing import check_gradients
>>> from tinygrad_rnn.testing.domains import case
>>> drawn = case("matmul", np.random.default_rng(0))
>>> check_gradients(drawn.fn, *drawn.inputs, order=drawn.order).verdict
'pass'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..primitive import registry
from ..tensor import Tensor
from .domain_builders import entrywise
from .domain_table import TABLE, Domain
from .draws import Draws, Range, Seeded, drawn

__all__ = ["Case", "Domain", "case", "cases", "domain_names", "missing", "register_domain"]


@dataclass(frozen=True)
class Case:
    """One primitive with inputs at which its gradient can be checked.

    name: of the primitive.  fn: a function of the inputs, which calls it with drawn parameters.
    inputs: floating Tensors.  kinks, order: the arguments of `check_gradients` of these names.
    """

    name: str
    fn: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    kinks: str = "inconclusive"
    order: int = 2


def case(name: str, rng: np.random.Generator | int, *, dtype: Any = "float64", allow_empty: bool = False) -> Case:
    """Draw a case of a primitive.

    name: a primitive with a domain.  rng: a generator or a seed; the same one gives the same case.
    dtype: float32 or float64, of the inputs.  allow_empty: axes of length 0 too, where the domain has them.

    Raises ArgumentError for a primitive without a domain.
    """
    least = _least(name, allow_empty)
    return _build(name, Seeded(np.random.default_rng(rng), dtype, least))


def cases(name: str, *, dtype: Any = "float64", allow_empty: bool = False) -> Any:
    """The Hypothesis strategy of a primitive's cases. Arguments and errors as in `case`.

    >>> from hypothesis import find
    >>> find(cases("log"), lambda case: case.inputs[0].ndim == 1).inputs
    (Tensor([0.03125], dtype=float64),)
    """
    from hypothesis import strategies as st

    least = _least(name, allow_empty)

    @st.composite
    def build(draw: Any) -> Case:
        return _build(name, drawn(draw, dtype, least))

    return build()


def register_domain(
    name: str,
    domain: Callable[[Draws], tuple[Callable[..., Any], Sequence[Tensor]]] | Sequence[Any],
    *,
    kinks: str = "inconclusive",
    order: int = 2,
    empty: bool = False,
) -> None:
    """Say where a primitive of your own can be checked, so that `case`, `cases` and the command `check` find it.

    domain: of an elementwise primitive, an interval ``(low, high)`` for its input, or a list of intervals, one for
        each input (they then broadcast); of any other, a function from `Draws` to ``(fn, inputs)``.
    kinks, order: the arguments of `check_gradients`.  empty: whether axes of length 0 make sense.

    Raises ArgumentError for a name that is not registered as a differentiable primitive.

    >>> import tinygrad_rnn as tg
    >>> cubed = tg.elementwise("cubed", lambda xp, x: x * x * x, derivative=lambda xp, y, x: 3 * x * x)
    >>> register_domain("cubed", (-2, 2))
    >>> case("cubed", 0).name
    'cubed'
    >>> del tg.registry["cubed"]
    """
    if name not in registry or not registry[name].differentiable:
        raise ArgumentError(
            f'there is no differentiable primitive "{name}"; first register it: tg.primitive("{name}", ...)'
        )
    if callable(domain):
        build = domain
    else:
        listed = domain if isinstance(domain[0], (tuple, list)) else [domain]
        build = entrywise(name, *[Range(*each) for each in listed])
    TABLE[name] = Domain(build, kinks, order, empty)


def domain_names() -> list[str]:
    """Names of the registered differentiable primitives that have a domain, in the order of registration."""
    return [name for name, primitive in registry.items() if primitive.differentiable and name in TABLE]


def missing() -> list[str]:
    """Names of the library's own differentiable primitives that have no domain.

    >>> missing()
    []
    """
    return [
        name
        for name, primitive in registry.items()
        if primitive.differentiable and primitive.builtin and name not in TABLE
    ]


def _least(name: str, allow_empty: bool) -> int:
    if name not in TABLE or name not in registry:
        raise ArgumentError(f'primitive "{name}" has no domain. Give it one: register_domain("{name}", (low, high))')
    return 0 if allow_empty and TABLE[name].empty else 1


def _build(name: str, draws: Draws) -> Case:
    domain = TABLE[name]
    fn, inputs = domain.build(draws)
    return Case(name, fn, tuple(inputs), domain.kinks, domain.order)
