"""Recursive networks on arithmetic expressions: the value of every node from the states of the nodes below it.

    tree network   h = tanh(W x + U_1 h_1 + U_2 h_2 + b)
    tree LSTM      c = i g + f_1 c_1 + f_2 c_2,   h = o tanh(c),   each gate of x, h_1 and h_2, and one f for each child

x is the node's symbol, a digit or an operator; h_1 and h_2 are the states of its children, with the same weights at
every node. A chain of such steps is a recurrent network; a tree of them is trained by back-propagation through
structure, the same sweep over the tape. The value, from -20 to 20, is read off every node's state by a softmax.

Source: Goller & Küchler 1996, "Learning task-dependent distributed representations by backpropagation through
structure"; Tai, Socher & Manning 2015, arXiv:1503.00075; a label at every node as in Socher et al. 2013.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.data import EXPRESSION_SYMBOLS, Expression, expressions
from tinygrad_rnn.training import fit

LARGEST, OPERATIONS = 20, 6
HIDDEN, EMBEDDING, BATCH = 96, 32, 64
RATES = {"tree network": 0.004, "tree LSTM": 0.007}  # of learning


class Evaluator(nn.Module):
    """A recursive network, and the scores of all values at every node."""

    def __init__(self, kind: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        network = rnn.TreeLSTM if kind == "tree LSTM" else rnn.TreeRNN
        self.embedding = nn.Embedding(len(EXPRESSION_SYMBOLS), EMBEDDING, rng=rng)
        self.network = network(EMBEDDING, HIDDEN, rng=rng)
        self.output = nn.Linear(HIDDEN, 2 * LARGEST + 1, rng=rng)

    def forward(self, trees: rnn.Forest) -> tg.Tensor:
        """A forest of N nodes → scores (N, 41)."""
        found = self.network(self.embedding(trees.labels), trees)
        return self.output(found[0] if isinstance(found, tuple) else found)


def tree(expression: Expression, labels: str = "symbol") -> rnn.Tree:
    """An expression as a tree of its symbols' numbers, or of its values."""
    label = EXPRESSION_SYMBOLS.index(expression.symbol) if labels == "symbol" else expression.value + LARGEST
    return rnn.Tree(label, tuple(tree(child, labels) for child in expression.children))


def batch(drawn: list[Expression]) -> tuple[rnn.Forest, np.ndarray]:
    """The forest, and the value of each of its nodes, plus 20, (N,)."""
    return rnn.forest([tree(each) for each in drawn]), rnn.forest([tree(each, "value") for each in drawn]).labels


def train(kind: str, updates: int, known: set[str], seed: int) -> tuple[Evaluator, np.ndarray]:
    """Train on expressions that are new in every update; return the network, and the loss of every update."""
    model, rng, losses = Evaluator(kind, seed), np.random.default_rng(seed), []
    optimizer = optim.Adam(model, lr=RATES[kind])

    def loss(model: Evaluator, batch: tuple[rnn.Forest, np.ndarray], carry: None) -> tg.Tensor:
        trees, values = batch
        return tg.cross_entropy(model(trees), tg.tensor(values))

    def data(step: int) -> tuple[rnn.Forest, np.ndarray]:
        drawn = expressions(BATCH, operations=OPERATIONS, largest=LARGEST, seed=rng)
        return batch([each for each in drawn if str(each) not in known])

    fit(model, data, loss=loss, optimizer=optimizer, steps=updates, clip=1.0, progress=False,
        schedule=optim.CosineDecay(optimizer, updates),
        callbacks=[lambda step, state: losses.append(state.loss)])  # fmt: skip
    return model, np.array(losses)


def values(model: Evaluator, trees: rnn.Forest) -> np.ndarray:
    """The likeliest value of every node, (N,)."""
    return model(trees).numpy().argmax(axis=-1) - LARGEST


def draw(axes: object, expression: Expression, found: np.ndarray) -> None:
    """The expression's tree, with the value that the network found at each operator, and the right one if it erred."""
    trees, right = batch([expression])
    columns = iter(range(2 * len(found)))

    def place(node: int, depth: int) -> tuple[float, float]:
        """Draw a node and what is below it; return where it stands."""
        children = [child for child in trees.children[node] if child < len(found)]
        below = [place(child, depth + 1) for child in children[:1]]
        spot = (next(columns), -depth)
        below += [place(child, depth + 1) for child in children[1:]]
        for x, y in below:
            axes.plot([spot[0], x], [spot[1], y], color="#adb5bd", linewidth=1, zorder=0)
        text, value = EXPRESSION_SYMBOLS[trees.labels[node]], int(right[node]) - LARGEST
        wrong = found[node] != value
        if children:
            text += f"\n= {found[node]}" + (f", not {value}" if wrong else "")
        text = text.replace("-", "−").replace("*", "×")
        axes.text(*spot, text, ha="center", va="center", fontsize=9, fontweight="bold" if wrong else "normal",
                  bbox={"boxstyle": "round,pad=0.25", "facecolor": "#ffd8a8" if wrong else "white",
                        "edgecolor": gallery.INK if wrong else "#adb5bd"})  # fmt: skip
        return spot

    place(int(trees.roots[0]), 0)
    axes.set_axis_off()
    axes.margins(0.12)


def main(run: gallery.Run) -> None:
    """Train both networks, and let them evaluate expressions that they have not seen."""
    updates, number = (150, 300) if run.quick else (1500, 2000)
    drawn = {str(e): e for e in expressions(number, operations=OPERATIONS, largest=LARGEST, seed=run.seed + 1)}
    trees, _ = batch(list(drawn.values()))
    right = np.array([each.value for each in drawn.values()])
    heights = np.array([each.height for each in drawn.values()])
    models, share = {}, {}  # share of roots right: value or sign, by kind
    for kind in RATES:
        models[kind], losses = train(kind, updates, set(drawn), run.seed)
        found = values(models[kind], trees)[trees.roots]
        share[kind, "value"], share[kind, "sign"] = found == right, np.sign(found) == np.sign(right)
        run.say(f"{kind}: cross-entropy of the last updates {losses[-20:].mean():.3f} nats a node")
    guess = {"value": np.mean(right == np.bincount(right + LARGEST).argmax() - LARGEST), "sign": np.mean(right > 0)}
    least = {("tree network", "value"): (0.5, 0.15), ("tree network", "sign"): (0.85, 0.65),
             ("tree LSTM", "value"): (0.92, 0.25), ("tree LSTM", "sign"): (0.97, 0.7)}  # fmt: skip
    for (kind, what), bounds in least.items():
        got, wanted = share[kind, what].mean(), bounds[run.quick]
        run.expect(f"{kind}, {what} of {len(right)} new expressions",
                   expected=f"at least {wanted:.0%} right (the most frequent: {guess[what]:.0%})", got=f"{got:.1%}",
                   ok=got >= wanted)  # fmt: skip

    figure = run.figure("Recursive networks on arithmetic expressions", width=12, height=4.2)
    left, *panels = figure.subplots(1, 3, width_ratios=(1, 1.1, 1.1))
    levels = [height for height in np.unique(heights) if np.sum(heights == height) >= 10]
    for i, (kind, what) in enumerate(least):
        marks = run.style(i, markers=True)
        left.plot(
            levels, [100 * share[kind, what][heights == h].mean() for h in levels], **marks, label=f"{kind}, {what}"
        )
    left.set(title="new expressions by height", xlabel="height of the tree", ylabel="right in %", ylim=(0, 103))
    left.legend(loc="lower left", fontsize=8.5)
    every = list(drawn.values())
    telling = [i for i in range(len(every)) if share["tree LSTM", "value"][i] and not share["tree network", "value"][i]]
    shown = every[next((i for i in telling if heights[i] == 4), 0)]
    for axes, (kind, model) in zip(panels, models.items()):
        draw(axes, shown, values(model, batch([shown])[0]))
        axes.set_title(f"{kind}: {shown}", fontsize=9.5)
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
