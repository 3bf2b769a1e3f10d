"""For every test and the processes that it starts: the library within reach, as in the workflow, and one thread.

With one thread results are those of the workflow's small runs, and tests side by side do not get in each other's way.
"""

import os
from pathlib import Path

import pytest

LIBRARY = str(Path(__file__).parents[1] / "lib")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [LIBRARY, os.environ.get("PYTHONPATH")]))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported


@pytest.fixture
def compiled(monkeypatch):
    """The kernels that are compiled from now on, which for this test only means that they are written down."""
    import torch  # after the environment is set

    from ternary_spike.membrane import backends
    from ternary_spike.membrane import compiled as module

    graphs = []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph

    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", lambda call, **_: compiler(call, fullgraph=True, backend=counting))
    module.compiled_function.cache_clear()
    backends.use("compiled")
    yield graphs
    ended = backends.current()
    module.compiled_function.cache_clear()
    backends.use("eager")
    assert ended == "compiled"
