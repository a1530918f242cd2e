"""Functions of other frameworks, as functions of NumPy arrays with their own derivatives.

Nothing is imported before a function is wrapped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Foreign(NamedTuple):
    """A function of arrays with its rules, as `check_gradients` takes them in place of `fn`, `vjp` and `jvp`."""

    fn: Callable[..., Any]
    vjp: Callable[..., Any] | None = None
    jvp: Callable[..., Any] | None = None


def torch_function(fn: Callable[..., Any], *, forward: bool = False) -> Foreign:
    """Wrap a function of torch tensors. Needs torch.

    fn: float64 tensors (int64 for integer inputs) to a tensor or a tuple of tensors.
    forward: also check forward mode (``torch.func.jvp``), which not every torch function has.

    Example: ``check_gradients(torch_function(torch.tanh), np.array([0.5, 1.5]))``
    """
    import torch

    def tensors(arrays: tuple[Any, ...], gradients: bool = False) -> list[Any]:
        made = [torch.tensor(np.array(x)) for x in arrays]
        return [x.requires_grad_(gradients and x.is_floating_point()) for x in made]

    def call(*arrays: Any) -> Any:
        return _plain(fn(*tensors(arrays)), torch.Tensor)

    def vjp(v: Any, *arrays: Any) -> tuple[Any, ...]:
        boxes = tensors(arrays, True)
        out = fn(*boxes)
        outs = out if isinstance(out, (tuple, list)) else (out,)
        seeds = tensors(v if isinstance(v, tuple) else (v,))
        reached = [(y, seed) for y, seed in zip(outs, seeds) if y.requires_grad]
        sources = [x for x in boxes if x.requires_grad]
        if not reached:
            return tuple(None for _ in boxes)
        ends, cotangents = zip(*reached)
        found = iter(torch.autograd.grad(ends, sources, cotangents, allow_unused=True))
        gradients = [next(found) if x.requires_grad else None for x in boxes]
        return tuple(None if g is None else g.detach().numpy() for g in gradients)

    def jvp(tangents: tuple[Any, ...], *arrays: Any) -> Any:
        boxes = tensors(arrays)
        moving = [k for k, x in enumerate(boxes) if x.is_floating_point()]

        def on_moving(*some: Any) -> Any:
            replaced = dict(zip(moving, some))
            return fn(*[replaced.get(k, x) for k, x in enumerate(boxes)])

        primals = tuple(boxes[k] for k in moving)
        directions = tuple(tensors(tuple(tangents[k] for k in moving)))
        return _plain(torch.func.jvp(on_moving, primals, directions)[1], torch.Tensor)

    return Foreign(_named(call, fn, "torch_function"), vjp, jvp if forward else None)


def jax_function(fn: Callable[..., Any], *, forward: bool = True) -> Foreign:
    """Wrap a function of JAX arrays, run in float64. Needs jax.

    fn: arrays to an array or a tuple of arrays.  forward: also check forward mode (``jax.jvp``).

    Example: ``check_gradients(jax_function(jax.nn.gelu), np.array([0.5, 1.5]))``
    """
    import jax

    def enable_x64() -> Any:
        if hasattr(jax, "enable_x64"):
            return jax.enable_x64(True)
        from jax import experimental  # where older versions keep it

        return getattr(experimental, "enable_x64")()  # noqa: B009

    def call(*arrays: Any) -> Any:
        with enable_x64():
            return _plain(fn(*map(jax.numpy.asarray, arrays)), jax.Array)

    def vjp(v: Any, *arrays: Any) -> tuple[Any, ...]:
        with enable_x64():
            _, pull = jax.vjp(fn, *map(jax.numpy.asarray, arrays))
            found = pull(jax.tree_util.tree_map(jax.numpy.asarray, v))
            return tuple(np.array(g) if g.dtype == np.float64 else None for g in found)

    def jvp(tangents: tuple[Any, ...], *arrays: Any) -> Any:
        with enable_x64():
            full = tuple(np.zeros(x.shape, jax.dtypes.float0) if d is None else d for d, x in zip(tangents, arrays))
            return _plain(jax.jvp(fn, tuple(map(jax.numpy.asarray, arrays)), full)[1], jax.Array)

    return Foreign(_named(call, fn, "jax_function"), vjp, jvp if forward else None)


def autograd_function(fn: Callable[..., Any]) -> Foreign:
    """Wrap a function written with ``autograd.numpy``. Needs autograd (HIPS).

    fn: arrays to one array.

    Example: ``check_gradients(autograd_function(anp.tanh), np.array([0.5, 1.5]))``
    """
    from autograd import make_vjp

    def vjp(v: Any, *arrays: Any) -> tuple[Any, ...]:
        floating = [k for k, x in enumerate(arrays) if np.asarray(x).dtype.kind == "f"]
        pulled = [make_vjp(fn, k)(*arrays)[0](v) if k in floating else None for k in range(len(arrays))]
        return tuple(None if g is None else np.array(g) for g in pulled)

    return Foreign(_named(lambda *arrays: fn(*arrays), fn, "autograd_function"), vjp)


def _named(call: Any, fn: Any, wrapper: str) -> Any:
    """Give a wrapper the name of what it wraps, and say how to wrap it again."""
    call.__qualname__ = getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None) or type(fn).__name__
    call.wrapped_by = wrapper, fn
    return call


def _plain(out: Any, kind: type) -> Any:
    """A framework's arrays as NumPy arrays; anything else as it came, to be refused with its own name."""
    if isinstance(out, (tuple, list)):
        return tuple(_plain(each, kind) for each in out)
    if not isinstance(out, kind):
        return out
    return np.array(out.detach().numpy() if hasattr(out, "detach") else np.asarray(out))
