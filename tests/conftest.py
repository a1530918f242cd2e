"""Every test runs on each backend that ``--backend`` names, which is the default backend while it runs."""

import pytest

import tinygrad_rnn as tg


def pytest_generate_tests(metafunc):
    """Where the option names NumPy alone, nothing is parametrised; a test that takes ``backend`` has its own."""
    names = [name.strip() for name in metafunc.config.getoption("--backend").split(",")]
    if names == ["all"]:
        names = list(tg.backends.available())
    if names != ["numpy"] and "backend" not in metafunc.fixturenames:
        metafunc.parametrize("default_backend", names, indirect=True)


@pytest.fixture(autouse=True)
def default_backend(request):
    """The backend of tensors that say nothing else."""
    name = getattr(request, "param", None)
    if name is None and "backend" in request.fixturenames:
        name = request.getfixturevalue("backend")
    if name is None:
        yield
        return
    status = tg.backends.available()[name]
    if not status.can_run:
        pytest.skip(f"{name} cannot run here: {status.reason}")
    tg.set_backend(name)
    yield
    tg.set_backend(None)
