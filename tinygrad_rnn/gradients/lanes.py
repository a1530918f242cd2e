"""Which results of a step are lane-wise: row b of them depends on row b of the state alone."""

from __future__ import annotations

from typing import Any

from ..primitive import Elementwise
from ..tape import Record, Tape


def lane_slots(tape: Tape, known: set[int], batch: int) -> frozenset[int] | None:
    """Return the slots of a tape whose first axis is the batch, and whose rows are independent of each other.

    known: slots of which that is given: the parts of the state, and x.  Returns None if some operation is not known
    to keep lanes apart.
    """
    lanes = set(known)
    for record in tape:
        if not any(slot in lanes for slot in record.inputs):
            continue
        outputs = (record.output,) if isinstance(record.output, int) else record.output
        results = (record.result,) if isinstance(record.output, int) else record.result
        if not record.primitive.differentiable:  # no gradient passes, whatever it does
            lanes.update(slot for slot, y in zip(outputs, results) if y.shape[:1] == (batch,))
        elif _keeps_lanes(record, [slot in lanes for slot in record.inputs], batch):
            lanes.update(outputs)
        else:
            return None
    return frozenset(lanes)


def _keeps_lanes(record: Record, lane: list[bool], batch: int) -> bool:
    name, params, values = record.primitive.name, record.params, record.values
    y = record.result
    if isinstance(record.primitive, Elementwise) or name == "where":
        return all(value.ndim == y.ndim for value, on in zip(values, lane) if on) and y.shape[0] == batch
    if name == "matmul":
        return _product_keeps_lanes(values, lane, batch)
    if name in ("concat", "stack", "unstack", "flip", "roll", *_REDUCTIONS):
        axis = params["axis"]
        axes = axis if isinstance(axis, (tuple, list)) else (axis,)
        rows = all(value.shape[:1] == (batch,) for value in values if hasattr(value, "shape"))
        return rows and all(each is not None and each > 0 for each in axes)
    if name == "permute_dims":
        return bool(params["axes"][0] == 0)
    if name in ("reshape", "broadcast_to"):
        return y.shape[:1] == (batch,) and (name == "reshape" or y.ndim == values[0].ndim)
    if name == "getitem":
        index = params["index"]
        plain = all(isinstance(part, (slice, int)) or part is None for part in index[1:])
        if not plain or not index:
            return False
        used = sum(part is not None for part in index[1:])
        return index[0] == slice(None) or (index[0] is Ellipsis and used < values[0].ndim)
    return name == "astype"


_REDUCTIONS = ("sum", "mean", "max", "min", "var", "prod", "logsumexp", "softmax", "log_softmax", "cumulative_sum")


def _product_keeps_lanes(values: tuple[Any, ...], lane: list[bool], batch: int) -> bool:
    a, b = values
    if lane == [True, False]:
        return a.ndim >= 2 and b.ndim <= 2
    if lane == [False, True]:
        return a.ndim == 2 and b.ndim >= 3
    return a.ndim == b.ndim and a.ndim >= 3 and a.shape[0] == b.shape[0] == batch
