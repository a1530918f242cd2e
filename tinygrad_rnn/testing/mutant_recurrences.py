"""The mistakes that `mutants` plants in functions: tape, kernels, cells, layers, scan and gradient rules.

Each is written as a change of the function's text: a line that says what is wrong, the text as it is (-), and what
takes its place (+).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from .. import tape, transforms
from ..gradients import bptt, rtrl, rule
from ..kernels.reference import common, elman, gru, influence, lstm
from ..ops import sequence
from ..rnn import layers, residual, stacked
from ..rnn.scan import _run, _run_in_segments
from ..tensor import Tensor
from .mutation import Mutant, edited


def recurrences() -> Iterator[Mutant]:
    """Yield them, from the tape up to the gradient rules."""
    yield from _tape()
    yield from _kernels()
    yield from _cells()
    yield from _layers_and_scan()
    yield from _rules()


def _edits(area: str, function: Any, touches: tuple[str, ...], changes: str) -> Iterator[Mutant]:
    """One mutant for each change of a function."""
    lines = [line for line in textwrap.dedent(changes).splitlines() if line]
    for what, old, new in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        assert old.startswith("- ") and new.startswith("+ "), what
        yield Mutant(
            f"{function.__qualname__}: {what}",
            function.__qualname__,
            area,
            touches,
            lambda old=old[2:], new=new[2:]: edited(function, old, new),  # type: ignore[misc]
        )


def _tape() -> Iterator[Mutant]:
    every = ("multiply", "add", "concat", "LSTMCell")
    yield from _edits("tape", tape.Tape.sweep_backward, every, """
        a second use does not add to the first
        - totals[slot] = total + part
        + totals[slot] = part
        the third use is forgotten
        - totals[slot] += part
        + part = None
        """)  # fmt: skip
    yield from _edits("tape", tape.fit, every, """
        axes in front are not summed
        - g = xp.sum(g, axis=tuple(range(extra)))
        + g = g[(0,) * extra]
        axes of length 1 are averaged
        - xp.sum(g, axis=stretched, keepdims=True)
        + xp.mean(g, axis=stretched, keepdims=True)
        """)  # fmt: skip
    yield from _edits("tape", tape.Tape.sweep_forward, every, """
        forward mode forgets all inputs but the first
        - parts = [known.get(slot) for slot in record.inputs]
        + parts = [known.get(slot) if k == 0 else None for k, slot in enumerate(record.inputs)]
        """)  # fmt: skip
    yield from _edits("tape", transforms._accumulate, ("backward",), """
        a second call overwrites the first
        - new if leaf.grad is None else leaf.grad + new
        + new
        """)  # fmt: skip
    yield from _edits("tape", Tensor.detach, ("detach",), """
        keeps its history
        - return placed(self._array, self._backend)
        + return self
        """)  # fmt: skip
    yield from _edits("tape", transforms._Checkpoint.pullback, ("checkpoint_many",), """
        of several results the first alone counts
        - zip(outs, g if isinstance(g, tuple) else (g,)):
        + list(zip(outs, g if isinstance(g, tuple) else (g,)))[:1]:
        """)  # fmt: skip
    yield from _edits("tape", transforms._run_again, ("checkpoint",), """
        what the function closes over has no gradient
        - next((by_value[id(e)] for e in _layers(leaf) if id(e) in by_value), None)
        + None
        """)  # fmt: skip


def _kernels() -> Iterator[Mutant]:
    of_lstm = ("lstm_sequence", "LSTM")
    yield from _edits("kernel", lstm.lstm_backward, of_lstm, """
        the path through h is forgotten
        - dh_before = d_xw[t] @ w_hh
        + dh_before = 0 * dh_t
        the path through c is forgotten
        - dc_before = dc_t * f
        + dc_before = 0 * dc_t
        c one step off
        - c[order[n - 1]] if n else c0
        + c[order[n]] if n else c0
        the cotangent of c is dropped
        - (1 - tanh_c * tanh_c) + dc_carry
        + (1 - tanh_c * tanh_c)
        lengths are ignored
        - d_xw[t][past] = 0
        + pass
        runs forward in both directions
        - order = times(len(h), reverse)
        + order = times(len(h), False)
        the output gate's slope is missing
        - np.multiply(dh_t * tanh_c, o * (1 - o), out=da_o)
        + np.multiply(dh_t * tanh_c, o, out=da_o)
        """)  # fmt: skip
    yield from _edits("kernel", gru.gru_backward, ("gru_sequence", "GRU(after)"), """
        the reset gate has no gradient
        - np.multiply(da_n * inner[t], r * (1 - r), out=da_r)
        + da_r[...] = 0
        the path past the new state is forgotten
        - carry = dh_t * z + d_new[t] @ w_new
        + carry = d_new[t] @ w_new
        sign of the update gate
        - dh_t * (before - n), z
        + dh_t * (n - before), z
        the bias inside the reset is averaged
        - d_new.sum((0, 1))
        + d_new.mean((0, 1))
        lengths are ignored
        - carry[past] = dh_t[past]
        + pass
        """)  # fmt: skip
    yield from _edits("kernel", gru.gru_backward, ("gru_sequence", "GRU(before)"), """
        the path through r h is forgotten
        - carry = dh_t * z + d_inner * r
        + carry = dh_t * z
        """)  # fmt: skip
    of_elman = ("elman_sequence", "RNN(tanh)")
    yield from _edits("kernel", elman.elman_backward, of_elman, """
        the recurrent weight is not transposed
        - carry = d_xw[t] @ w_hh
        + carry = d_xw[t] @ w_hh.T
        relu passes everything
        - else h[t] > 0
        + else h[t] >= 0
        the state at a lane's end has no gradient
        - carry[past] = total[past]
        + carry[past] = 0
        the cotangents of outputs are one step late
        - total = dh[t] + carry
        + total = dh[t - 1] + carry
        """)  # fmt: skip
    every = ("elman_sequence", "gru_sequence", "lstm_sequence")
    yield from _edits("kernel", common.recurrent_weight_gradient, every, """
        states one step off
        - (0, da[1:], h[:-1])
        + (0, da[1:], h[1:])
        the first step is forgotten
        - total = da[first].T @ h0
        + total = 0 * (da[first].T @ h0)
        """)  # fmt: skip
    yield from _edits("kernel", sequence._gru_vjp, ("gru_sequence", "GRU(after)"), """
        both biases get the same
        - xp.concat([db[: 2 * h0.shape[1]], db_hn])
        + db
        """)  # fmt: skip
    yield from _edits("kernel", sequence._elman_vjp, of_elman, """
        outputs past a lane's end count
        - _within(xp, g[0], lengths)
        + g[0]
        """)  # fmt: skip
    yield from _edits("kernel", common.input_gradients, every, """
        the last step is forgotten
        - matmul(flat, w_ih,
        + matmul(flat * (np.arange(len(flat)) < len(flat) - batch)[:, None], w_ih,
        bias gradient averaged
        - flat.sum(0)
        + flat.mean(0)
        """)  # fmt: skip


def _cells() -> Iterator[Mutant]:
    yield from _edits("cell", sequence.lstm_step, ("LSTMCell",), """
        c is detached
        - sigmoid(f) * c +
        + sigmoid(f) * c.detach() +
        h is detached
        - _affine(h, w_hh, b_hh)
        + _affine(h.detach(), w_hh, b_hh)
        """)  # fmt: skip
    yield from _edits("cell", sequence.gru_step, ("GRUCell(after)",), """
        the reset gate is detached
        - r * h_n
        + r.detach() * h_n
        the old state is detached
        - z * (h - n)
        + z * (h.detach() - n)
        """)  # fmt: skip
    yield from _edits("cell", sequence.gru_step, ("GRUCell(before)",), """
        the reset gate is detached, before the product
        - _affine(r * h
        + _affine(r.detach() * h
        """)  # fmt: skip
    yield from _edits("cell", sequence.elman_step, ("ElmanCell(tanh)", "ElmanCell(relu)"), """
        h is detached
        - _affine(h, w_hh, b_hh)
        + _affine(h.detach(), w_hh, b_hh)
        """)  # fmt: skip
    yield from _edits("cell", stacked.StackedCell.forward, ("StackedCell",), """
        detached between the cells
        - x = found[0]
        + x = found[0].detach()
        """)  # fmt: skip
    yield from _edits("cell", residual.ResidualCell.forward, ("ResidualCell",), """
        the shortcut is detached
        - join("ResidualCell", kept,
        + join("ResidualCell", kept.detach(),
        """)  # fmt: skip


def _layers_and_scan() -> Iterator[Mutant]:
    of_layers = ("RNN(tanh)", "GRU(after)", "LSTM")
    yield from _edits("layer", layers.Recurrent.forward, of_layers, """
        the reverse direction is detached
        - ops.concat(outputs, axis=2)
        + ops.concat([outputs[0], outputs[1].detach()], axis=2)
        final states have no gradient
        - finals.append(final)
        + finals.append(tuple([part.detach() for part in final]))
        detached between the layers
        - xs = self.between_layers(xs)
        + xs = self.between_layers(xs).detach()
        """)  # fmt: skip
    yield from _edits("layer", layers.Recurrent._starts, of_layers, """
        the learned initial state is detached
        - ops.broadcast_to(row, one)
        + ops.broadcast_to(row, one).detach()
        """)  # fmt: skip
    yield from _edits("scan", _run, ("scan",), """
        the state is detached at every step
        - state = after
        + state = like_state(after, [leaf.detach() for leaf in leaves_of(after)])
        the state at a lane's end has no gradient
        - leaves_of(after), leaves_of(state)))
        + leaves_of(after), [leaf.detach() for leaf in leaves_of(state)]))
        outputs past a lane's end count
        - outputs.append(_held(past)(output, ops.zeros_like(output)))
        + outputs.append(output)
        """)  # fmt: skip
    yield from _edits("scan", _run_in_segments, ("scan",), """
        the state is detached between segments
        - *leaves_of(state))
        + *[leaf.detach() for leaf in leaves_of(state)])
        """)  # fmt: skip


def _rules() -> Iterator[Mutant]:
    yield from _edits("rule", bptt.WindowLearner.flush, ("BPTT",), """
        nothing passes from step to step
        - cotangents, gradients = record.sweep(cotangents, pairs)
        + _, gradients = record.sweep(cotangents, pairs)
        losses of an overlap count twice
        - record.loss = None
        + pass
        """)  # fmt: skip
    yield from _edits("rule", bptt.WindowLearner.__init__, ("TruncatedBPTT",), """
        truncated one step too early
        - deque(maxlen=k2)
        + deque(maxlen=k2 and max(1, k2 - 1))
        """)  # fmt: skip
    yield from _edits("rule", bptt.StepRecord.sweep, ("BPTT",), """
        a step's own loss replaces what comes from later
        - first + self.loss.cotangent
        + self.loss.cotangent
        other parts of the state carry nothing
        - zip(leaves_of(self.after), cotangents):
        + list(zip(leaves_of(self.after), cotangents))[:1]:
        """)  # fmt: skip
    yield from _edits("rule", rule.add_gradients, ("BPTT",), """
        the newest step alone counts
        - total[name] + more[name] if name in total
        + more[name] if name in total
        """)  # fmt: skip
    yield from _edits("rule", rtrl.InfluenceLearner.learn, ("RTRL",), """
        the influence is not carried on
        - update(flat, d)
        + flat[...] = 0
        """)  # fmt: skip
    yield from _edits("rule", influence.influence_update_dense, ("RTRL",), """
        the Jacobian is transposed
        - np.matmul(d, panel)
        + np.matmul(np.swapaxes(d, 1, 2), panel)
        """)  # fmt: skip
    yield from _edits("rule", influence.gru_slopes, ("RTRL",), """
        the path through the reset gate is dropped
        - d += slope_r[:, :, None] * w_r
        + pass
        """)  # fmt: skip
    yield from _edits("rule", influence.influence_update_lstm, ("RTRL",), """
        the forget gate is taken to be 1
        - panel_c *= f[:, :, None]
        + pass
        """)  # fmt: skip
    yield from _edits("rule", influence.own, ("RTRL",), """
        every lane reads what the first one reads
        - a[:, None, :] if a.ndim == 2 else a
        + a[:1, None, :] if a.ndim == 2 else a[:1]
        """)  # fmt: skip
