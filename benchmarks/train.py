"""Characters a second of the main job beside the same model in torch: ``python -m benchmarks train``.

One step: cross-entropy of the character model (embedding, LSTM, readout) over a window of each lane, gradients,
clipping by the global norm, Adam. Random characters: what they are changes nothing in the time.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import machine, versions


class Job(NamedTuple):
    """Sizes of the model and of a step."""

    vocabulary: int = 98
    embedding: int = 48
    hidden: int = 192
    layers: int = 1
    batch: int = 48
    window: int = 64

    def characters(self) -> tuple[Any, Any]:
        """Inputs and targets (window, batch)."""
        ids = np.random.default_rng(0).integers(0, self.vocabulary, (self.window + 1, self.batch))
        return ids[:-1], ids[1:]


def ours(job: Job, backend: str = "numba") -> Callable[[], float]:
    """The step of `tinygrad-rnn train`."""
    import tinygrad_rnn as tg
    from tinygrad_rnn.cli.character_model import CharacterModel, Sizes

    model = CharacterModel(Sizes(*job[:4]), rng=0, backend=backend)
    parameters = list(model.parameters())
    optimizer = tg.optim.Adam(parameters, lr=1e-3)
    x, y = (tg.tensor(ids, backend=backend) for ids in job.characters())

    def step() -> float:
        with tg.Tape() as tape:
            loss, _ = model.loss(x, y)
        gradients, _ = tg.optim.clip_by_norm(tape.gradient(loss, parameters), 1.0)
        optimizer.step(gradients)
        return loss.item()

    return step


def by_torch(job: Job) -> Callable[[], float]:
    """The same in torch, eager."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(job.vocabulary, job.embedding)
    lstm = torch.nn.LSTM(job.embedding, job.hidden, job.layers)
    readout = torch.nn.Linear(job.hidden, job.vocabulary)
    parameters = [each for part in (embedding, lstm, readout) for each in part.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    x, y = (torch.tensor(ids) for ids in job.characters())

    def step() -> float:
        optimizer.zero_grad()
        logits = readout(lstm(embedding(x))[0])
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, job.vocabulary), y.reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return float(loss.item())

    return step


def main(arguments: list[str] | None = None) -> str:
    """Measure, print the table, and return it."""
    from benchmarks.peers import Peer, compare

    parser = argparse.ArgumentParser(prog="python -m benchmarks train", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one sample")
    options = parser.parse_args(arguments)
    job, peers, lines = Job(), [], []
    for name in ("ours", "torch"):
        peer = Peer(name, options.threads)
        try:
            peer.ask(job=job)
            peers.append(peer)
        except RuntimeError as error:
            lines.append(f"Absent: {error}.")
            peer.close()
    times = compare(peers, options.rounds, options.seconds)
    for peer in peers:
        peer.close()
    text = "\n".join(
        [
            f"{machine()}; {versions('numpy', 'numba', 'torch')}; {options.threads} threads each.",
            f"{', '.join(f'{name} {value}' for name, value in job._asdict().items())}.",
            *lines,
            "",
            "| library | ms a step | characters a second |",
            "|---|---|---|",
            *[
                f"| {name} | {each.median * 1e3:.1f} ± {each.spread * 50:.0f} %{' (busy)' if each.noisy else ''} | "
                f"{job.batch * job.window / each.median:,.0f} |"
                for name, each in times.items()
            ],
            *([f"\nRatio {times['ours'].median / times['torch'].median:.2f}."] if len(times) == 2 else []),
        ]
    )
    print(text)
    return text


if __name__ == "__main__":
    main()
