"""RTRL of the built-in cells by kernels that know their equations; no tape is needed.

All parameters of a cell are one array W_gjk, gate g, unit j, column k of what the gates read, so that one influence
serves them all, and what a weight does in its own step touches one unit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import StateDictError
from ..ops.sequence import gru_biases
from ..rnn.cells import ElmanCell, GRUCell, LSTMCell
from ..rnn.state import leaves_of
from ..tensor import Tensor
from .forward import ForwardLearner
from .jacobian import StepTape


def has_kernel(cell: Any) -> bool:
    """Whether a kernel knows the equations of a cell: a built-in one, not a class derived from it."""
    return type(cell) in (ElmanCell, GRUCell, LSTMCell)


class Stepped(NamedTuple):
    """A step that was run by kernels.

    after: the state, with no history.  update: takes the step into an influence, in place, and returns the gradient
    of a loss, given the influence and the loss's derivative by the output.
    """

    after: Any
    update: Any


class StructuredLearner(ForwardLearner):
    """A stream with one influence of all parameters: (parts of the state, B, H, G, H, m).

    It is held in the order in which the backend multiplies it; `shape` is its own.
    """

    def prepare(self) -> None:
        cell = self.cell
        inputs, size, bias = cell.input_size, cell.hidden_size, int(cell.bias_ih is not None)
        # GRU's biases do different things, so each has a column: [x, 1, h, 1]; elsewhere one serves both: [x, h, 1]
        own = bias if isinstance(cell, GRUCell) else 0
        self.recurrent = inputs + own
        end = self.recurrent + size
        self.columns: dict[str, Any] = {"weight_ih": slice(0, inputs), "weight_hh": slice(self.recurrent, end)}
        if bias:
            self.columns |= {"bias_ih": inputs if own else end, "bias_hh": end}
        self.shape = (len(self.layout.places), self.batch, size, cell.gates, size, end + bias)
        self.influence = self.backend.kernel("influence_pack")(self.xp.zeros(self.shape, dtype=self.dtype))

    def arrays(self) -> list[Any]:
        """The arrays of the trace."""
        return [self.influence]

    def step_multiplications(self) -> int:
        """Multiplications of an update of the influence and of a gradient, beside the forward step."""
        parts, batch, size, gates, _, columns = self.shape
        numbers = batch * size * gates * size * columns  # B n p
        per_lane = parts * size * numbers  # the products D J
        if parts == 2:
            per_lane += 2 * numbers  # c' by c, and h' by c'
        own = (gates + (3 if parts == 2 else 0)) * batch * size * columns
        if isinstance(self.cell, GRUCell) and not self.cell.reset_after:
            own += batch * size * size * (columns + size)  # the r gate reaches every unit
        return per_lane + own + batch * gates * size * size + numbers

    def restart(self, start: StepTape, lanes: Any) -> None:
        self.influence[:, lanes] = 0

    def advance(self, x: Tensor, state: Any) -> Stepped:
        leaves = leaves_of(state)
        self.cell.check(x, *leaves)
        arrays = [leaf._array for leaf in leaves]
        run = _STEPS[type(self.cell)]
        after, update = run(self, x._array, arrays)
        tensors = [self.wrapped(array) for array in after]
        return Stepped(tuple(tensors) if isinstance(state, tuple) else tensors[0], update)

    def learn(self, step: Any, cotangent: Any) -> dict[str, Any]:
        parts, batch, size = self.shape[:3]
        gradient = step.update(self.influence, self.xp.reshape(cotangent, (batch, parts, size))[:, 0])
        trained = {name for name, _ in self.parameters}
        return {name: gradient[:, at].copy() for name, at in self.columns.items() if name in trained}

    def trace(self) -> dict[str, Any]:
        influence = self.backend.kernel("influence_unpack")(self.influence, self.shape)
        return {"influence": self.backend.to_numpy(influence).copy()}

    def load_trace(self, saved: dict[str, Any]) -> None:
        found = saved["influence"].shape if "influence" in saved else "none"
        if found != self.shape:
            raise StateDictError(f"the influence has shape {self.shape}; the saved stream has {found}")
        influence = self.backend.asarray(saved["influence"]).astype(self.dtype)
        self.influence = self.backend.kernel("influence_pack")(influence)

    def read(self, x: Any, h: Any) -> Any:
        """(B, m): what the gates read, a column a row of the influence."""
        xp = self.xp
        if "bias_ih" not in self.columns:
            return xp.concat([x, h], axis=1)
        one = xp.ones((h.shape[0], 1), dtype=h.dtype)
        return xp.concat([x, one, h, one] if isinstance(self.cell, GRUCell) else [x, h, one], axis=1)


def _weights(cell: Any, x: Any) -> tuple[Any, Any, Any, list[Any]]:
    """The inputs as a sequence of one step, W_ih, W_hh, and the biases there are."""
    biases = [each._array for each in (cell.bias_ih, cell.bias_hh) if each is not None]
    return x[None], cell.weight_ih._array, cell.weight_hh._array, biases


def _elman(learner: StructuredLearner, x: Any, state: list[Any]) -> Any:
    (h,) = state
    kind = learner.cell.nonlinearity
    xs, w_ih, w_hh, biases = _weights(learner.cell, x)
    bias = biases[0] + biases[1] if biases else None
    after = learner.backend.kernel("elman_forward")(xs, w_ih, bias, w_hh, h, None, False, kind)[0]
    slope = 1 - after * after if kind == "tanh" else (after > 0).astype(after.dtype)
    a = learner.read(x, h)
    kernel = learner.backend.kernel("influence_update_elman")
    return [after], lambda influence, q: kernel(influence[0], w_hh, slope, a, q)


def _gru(learner: StructuredLearner, x: Any, state: list[Any]) -> Any:
    (h,) = state
    after_product = learner.cell.reset_after
    xs, w_ih, w_hh, biases = _weights(learner.cell, x)
    bias, b_hn = gru_biases(learner.xp, h, *biases)
    run = learner.backend.kernel("gru_forward")
    after, gates, inner = run(xs, w_ih, bias, w_hh, b_hn, h, None, False, after_product)
    a = learner.read(x, h)
    kernel = learner.backend.kernel("influence_update_gru")
    return [after[0]], lambda influence, q: kernel(
        influence[0], w_hh, h, gates[0], inner[0], a, q, learner.recurrent, after_product
    )


def _lstm(learner: StructuredLearner, x: Any, state: list[Any]) -> Any:
    h, c = state
    xs, w_ih, w_hh, biases = _weights(learner.cell, x)
    bias = biases[0] + biases[1] if biases else None
    after, c_after, gates = learner.backend.kernel("lstm_forward")(xs, w_ih, bias, w_hh, h, c, None, False)
    a = learner.read(x, h)
    kernel = learner.backend.kernel("influence_update_lstm")
    return [after[0], c_after[0]], lambda influence, q: kernel(influence, w_hh, c, c_after[0], gates[0], a, q)


_STEPS = {ElmanCell: _elman, GRUCell: _gru, LSTMCell: _lstm}
