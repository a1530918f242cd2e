"""Write torch_reference.json: what torch computes for a handful of recurrent networks.

    python tests/rnn/make_torch_reference.py

The file states torch's version. Inputs and weights have float32 values, so that both dtypes start from the same
numbers; results are those of float64.
"""

import json
from pathlib import Path

import numpy as np

STEPS, BATCH, SIZE, HIDDEN = 4, 2, 2, 3
KINDS = {
    "RNN tanh": ("RNN", {"nonlinearity": "tanh"}),
    "RNN relu": ("RNN", {"nonlinearity": "relu"}),
    "GRU": ("GRU", {}),
    "LSTM": ("LSTM", {}),
}


def case(kind, options, *, layout="time first", start="given", lengths=None, dtype="float64", seed=0):
    """Run one network in torch: a dict with all that went in and all that came out.

    options: num_layers, bias, bidirectional.  layout: "time first", "batch first" or "unbatched".
    start: "default" (zeros), "given", or "learned": one row for each layer and direction, expanded over the batch.
    The number that is differentiated is sum(sin(ys)) + sum(cos(h)) + 2 sum(cos(c)).
    """
    import torch  # here, so that the file can be imported without it
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    rng = np.random.default_rng(seed)
    name, more = KINDS[kind]
    make = getattr(torch.nn, name)
    net = make(SIZE, HIDDEN, batch_first=layout == "batch first", **options, **more).to(getattr(torch, dtype))

    def leaf(*shape, bound=1.0):
        values = rng.uniform(-bound, bound, shape).astype("float32").astype(dtype)
        return torch.tensor(values, requires_grad=True)

    # as both libraries start: larger weights let relu's states grow, and rounding with them
    weights = {key: leaf(*parameter.shape, bound=HIDDEN**-0.5) for key, parameter in net.named_parameters()}
    net.load_state_dict(weights)
    lanes = () if layout == "unbatched" else (BATCH,)
    xs = leaf(BATCH, STEPS, SIZE) if layout == "batch first" else leaf(STEPS, *lanes, SIZE)
    rows = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    parts = 2 if name == "LSTM" else 1
    middle = lanes if start == "given" else ()
    leaves = [] if start == "default" else [leaf(rows, *middle, HIDDEN) for _ in range(parts)]
    state = leaves
    if start == "learned" and lanes:
        state = [part[:, None].expand(rows, BATCH, HIDDEN).contiguous() for part in leaves]
    given = None if not state else tuple(state) if parts == 2 else state[0]
    if lengths is None:
        ys, last = net(xs, given)
    else:
        packed = pack_padded_sequence(xs, lengths, batch_first=net.batch_first, enforce_sorted=False)
        ys, last = net(packed, given)
        ys, _ = pad_packed_sequence(ys, batch_first=net.batch_first, total_length=STEPS)
    last = last if parts == 2 else (last,)
    (torch.sin(ys).sum() + sum((k + 1) * torch.cos(part).sum() for k, part in enumerate(last))).backward()
    sources = {"xs": xs, **dict(zip(("h_0", "c_0"), leaves))}
    gradients = {key: x.grad for key, x in sources.items()} | {key: p.grad for key, p in net.named_parameters()}
    return {
        "kind": kind,
        "options": options,
        "layout": layout,
        "start": start,
        "lengths": lengths,
        "inputs": {key: x.detach().numpy() for key, x in sources.items()},
        "weights": {key: x.detach().numpy() for key, x in weights.items()},
        "ys": ys.detach().numpy(),
        "state": [part.detach().numpy() for part in last],
        "gradients": {key: gradient.numpy() for key, gradient in gradients.items()},
    }


def handful():
    """The cases in the file: each option appears, for each kind."""
    for kind in KINDS:
        yield case(kind, {})
        yield case(kind, {"bidirectional": True}, lengths=[2, 4], start="learned")
        yield case(kind, {"num_layers": 2, "bias": False}, layout="batch first", lengths=[3, 1], start="default")
        yield case(kind, {"num_layers": 2, "bidirectional": True}, layout="unbatched")


if __name__ == "__main__":
    import torch

    found = {"torch": torch.__version__, "cases": list(handful())}
    text = json.dumps(found, default=np.ndarray.tolist, separators=(",", ":"))
    Path(__file__).with_name("torch_reference.json").write_text(text.replace('{"kind"', '\n{"kind"') + "\n")
