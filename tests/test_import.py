"""What `import tinygrad_rnn` loads, and what it leaves for later. Each test asks a fresh interpreter."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LATER = ["numba", "cupy", "hypothesis", "matplotlib", "scipy", "torch", "safetensors", "rich", "pytest"]


def fresh(program):
    """Run a program in a new interpreter and return what it printed, as JSON."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


def loaded_after(program):
    return fresh(f"{program}\nimport json, sys\nprint(json.dumps([m for m in {LATER!r} if m in sys.modules]))")


def test_the_import_loads_nothing_beyond_numpy_and_warns_of_nothing():
    assert loaded_after("import tinygrad_rnn") == []


def test_a_tape_a_gradient_and_a_layer_need_nothing_beyond_numpy():
    program = """
import tinygrad_rnn as tg
layer = tg.nn.Linear(3, 2)
with tg.Tape() as tape:
    loss = tg.sum(tg.tanh(layer(tg.ones((4, 3)))))
    loss.backward()
"""
    assert loaded_after(program) == []


def test_every_exported_name_exists_and_the_package_says_its_version():
    program = """
import json, tinygrad_rnn as tg
from tinygrad_rnn import ops, transforms
wanted = [*ops.__all__, *transforms.__all__, "Tape", "Tensor", "Parameter", "tensor", "nn", "optim"]
print(json.dumps([tg.__version__.count("."), [name for name in wanted if not hasattr(tg, name)]]))
"""
    assert fresh(program) == [2, []]


def test_the_import_leaves_numpys_error_state_and_random_state_alone():
    program = """
import json, numpy as np
before = np.geterr(), np.random.get_state()[1].tolist()
import tinygrad_rnn
print(json.dumps(before == (np.geterr(), np.random.get_state()[1].tolist())))
"""
    assert fresh(program) is True
