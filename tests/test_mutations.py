"""Each equation of the neuron, changed in a small way, must make its tests fail."""

import contextlib
import io
import multiprocessing
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lib" / "ternary_spike"

# file, what the equation says, what a slip would make of it
MUTATIONS = [
    ("dynamics.py", "v * dynamics.decay + x", "v + x"),
    ("dynamics.py", "v * dynamics.decay + x", "v * dynamics.decay - x"),
    ("dynamics.py", "torch.nextafter(*torch.tensor", "torch.add(*torch.tensor"),
    ("dynamics.py", "F.hardshrink(u, below) if dynamics.signed", "F.hardshrink(u, below) if not dynamics.signed"),
    ("dynamics.py", "F.threshold(u, below, 0.0)", "F.relu(u)"),
    ("dynamics.py", "v = u - h if", "v = u if"),
    ("dynamics.py", "v = u - h if", "v = u - b if"),
    ("dynamics.py", "b if amplitude is None else b * amplitude.to(b.dtype)", "b"),
    ("dynamics.py", "v = membranes[-1].u - membranes[-1].h", "v = membranes[-1].u"),
    ("dynamics.py", "g * b if total", "g * h if total"),
    ("dynamics.py", "total.addcmul_(g, b)", "g * b"),
    ("dynamics.py", "b = h * (2 / dynamics.threshold)", "b = h * 1"),
    ("dynamics.py", "else b.clamp_(-1, 1)", "else b.sign()"),
    ("dynamics.py", "grad_y = torch.zeros_like(x)", "grad_y = torch.ones_like(x)"),
    ("dynamics.py", "_plus_product(grad_u, carried, _reset_slope(membrane, s, dynamics))", "grad_u.add_(carried)"),
    ("dynamics.py", "_times(g * amplitude.to(g.dtype), s)", "g * s"),
    ("dynamics.py", "grad_u = g * s", "grad_u = g * 1"),
    ("dynamics.py", "slope.addcmul_(h.abs(), s, value=-1)", "slope.addcmul_(h.abs(), s)"),
    ("dynamics.py", "slope.addcmul_(h.abs(), s, value=-1)", "slope.sub_(h.abs())"),
    ("dynamics.py", "slope.addcmul_(h.abs(), s, value=-1)", "slope.addcmul_(h, s, value=-1)"),
    ("dynamics.py", "return slope if dynamics.detach_reset", "return slope if not dynamics.detach_reset"),
    # the compiler's spelling
    ("dynamics.py", "(u.abs() if dynamics.signed else u) <=", "u.abs() <="),
    ("dynamics.py", "(u.abs() if dynamics.signed else u) <=", "(u.abs() if dynamics.signed else u) <"),
    ("dynamics.py", "1.0, torch.zeros_like(u) if dynamics", "1.0, torch.zeros_like(u) if not dynamics"),
    ("dynamics.py", "1.0, torch.zeros_like(u)", "0.0, torch.zeros_like(u)"),
    ("dynamics.py", "-h.abs() * s)", "-h.abs())"),
    ("dynamics.py", "-h.abs() * s)", "h.abs() * s)"),
    ("dynamics.py", "torch.where(u < 0, -g, g)", "torch.where(u < 0, g, g)"),
    ("dynamics.py", "torch.where(silent, 0.0, u)", "torch.where(silent, u, 0.0)"),
    ("dynamics.py", "b.clamp(-1, 1) if", "b.sign() if"),
    ("dynamics.py", "total + a * b if", "total - a * b if"),
    ("dynamics.py", "return product if total is None else total + product", "return product"),
    ("dynamics.py", "carried = grad_u * dynamics.decay", "carried = grad_u"),
    ("dynamics.py", "torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype", "torch.float32"),
    ("surrogate.py", "indicator(torch.le, u.abs(), window)", "indicator(torch.lt, u.abs(), window)"),
    ("surrogate.py", "indicator(torch.ge, u, 0.0)", "indicator(torch.gt, u, 0.0)"),
    ("surrogate.py", "(u.abs() if signed else u) - threshold", "u - threshold"),
    ("surrogate.py", "/ (2 * window)", "/ window"),
    ("surrogate.py", "distance.abs() / window, min=0) / window", "distance.abs() / window, min=0)"),
    ("surrogate.py", "(math.pi * window", "(window"),
    ("surrogate.py", "s * (1 - s) / window", "s * (1 - s)"),
    ("normalised_neuron.py", "bn.statistics(y.detach(), timesteps)", "bn.statistics(y.detach(), 1)"),
    ("normalised_neuron.py", "scale[t] + shift[t]", "scale[t] - shift[t]"),
    ("normalised_neuron.py", "scale[t] + shift[t]", "scale[0] + shift[t]"),
    ("normalised_neuron.py", "shift = bias.to(mean.dtype) - mean * scale", "shift = bias.to(mean.dtype) - mean"),
    ("normalised_neuron.py", "grad_shortcut = grad_current if", "grad_shortcut = grad_spikes if"),
    ("normalised_neuron.py", "functools.reduce(torch.add, grad_current.unbind(0)).unsqueeze(0)", "grad_current[:1]"),
    ("normalised_neuron.py", "sum(grads_weight), sum(grads_bias)", "grads_weight[0], sum(grads_bias)"),
    ("normalised_neuron.py", "sum(grads_weight), sum(grads_bias)", "sum(grads_weight), grads_bias[-1]"),
    ("normalised_neuron.py", "x.permute(0, 1, 3, 4, 2)", "x.permute(0, 1, 4, 3, 2)"),
    ("normalised_neuron.py", "torch.where(there, step, 0.0)", "step"),
    ("backends.py", "(1,), sequences[-1] is not None", "(1,), sequences[-1] is None"),
    ("normalised_neuron.py", "and bn.training", "and True"),
    ("normalised_neuron.py", "or neuron.amplitude.numel() == 1", "or True"),
    ("normalised_neuron.py", "m._forward_hooks or m._forward_pre_hooks", "m._forward_pre_hooks"),
    ("normalised_neuron.py", "m._forward_pre_hooks or m._backward_hooks", "m._backward_hooks"),
    ("normalised_neuron.py", "m._backward_hooks or m._backward_pre_hooks", "m._backward_hooks"),
    ("normalised_neuron.py", "and not _has_any_global_hook()", "and True"),
    ("normalised_neuron.py", "and type(neuron).forward is LIF.forward", "and True"),
    ("normalised_neuron.py", "return y.to(wide)", "return y"),
    ("normalised_neuron.py", "len(populations) == 1", "len(populations) >= 1"),
    ("backends.py", "min(piece, rows - start)", "min(piece, rows - start - 1)"),
    ("backends.py", "torch.stack(parts).sum()", "parts[0]"),
    ("backends.py", "range(0, rows, piece)", "range(0, rows, piece + 1)"),
    ("backends.py", "del outputs, output, step, terms", "pass"),
    ("backends.py", "first[0].numel() % LANES or LANES % row", "first[0].numel() % LANES"),
    ("backends.py", "first[0].numel() % LANES or LANES % row", "LANES % row"),
    ("backends.py", "repeat(1, LANES // row)", "repeat_interleave(LANES // row, 1)"),
    ("backends.py", "torch.autocast(device, enabled=False) if known", "contextlib.nullcontext() if known"),
    ("backends.py", "[0] if lanes else list(range(x.dim()))", "[]"),
    ("backends.py", "steps = [None if s is None else [_alone(step) for", "steps = [None if s is None else [step for"),
    ("backends.py", "* saved < 2", "* saved > 2"),
    ("backends.py", '_backend = "eager"\n    cause', 'cause'),
]  # fmt: skip


# what has to find the slip: the tests of the equations and of what is built on them
EQUATIONS = ("test_dynamics.py", "test_surrogate.py")
TESTS = {
    "dynamics.py": EQUATIONS,
    "surrogate.py": EQUATIONS,
    "normalised_neuron.py": ("test_normalised_neuron.py",),
    "backends.py": ("test_speed_backends.py",),
}


def run_tests(folder: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Exit status and output of the quick ones among the tests, until the first that fails, in a new process each."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not full"]
    options += ["--rootdir", str(ROOT), "-o", f"pythonpath={folder} {ROOT}"]
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = pytest.main([*options, *(str(ROOT / "tests" / name) for name in tests)])
    assert Path(sys.modules["ternary_spike"].__file__).is_relative_to(folder), "another package was tested"
    return int(code), output.getvalue()


def copy_package(folder: Path) -> Path:
    return shutil.copytree(PACKAGE, folder / "ternary_spike", ignore=shutil.ignore_patterns("__pycache__"))


def unnoticed(folder: Path, file: str, equation: str, slip: str) -> str | None:
    """What is wrong with the tests of a slip, or None."""
    package = copy_package(folder)
    source = (package / file).read_text()
    if source.count(equation) != 1:
        return f"{equation!r} is no longer in {file}: bring this list up to date"
    (package / file).write_text(source.replace(equation, slip))
    code, output = run_tests(folder, TESTS[file])
    if code == pytest.ExitCode.OK:
        return f"{file}: no test noticed {slip!r} in place of {equation!r}"
    return None if code == pytest.ExitCode.TESTS_FAILED else f"{file}, {slip!r}, tests did not run: {output[-1000:]}"


@pytest.fixture
def processes():
    """A new process for each call, as many at a time as there are cores, with the slow imports done."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "hypothesis", "torch._dynamo"])
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, max_tasks_per_child=1) as pool:
        yield pool


@pytest.mark.full
def test_a_slip_in_an_equation_is_found(tmp_path, processes):
    folders = [tmp_path / str(number) for number in range(len(MUTATIONS))]
    assert [found for found in processes.map(unnoticed, folders, *zip(*MUTATIONS, strict=True)) if found] == []


@pytest.mark.full
def test_without_a_slip_the_same_tests_pass(tmp_path, processes):
    copy_package(tmp_path)
    groups = set(TESTS.values())
    for code, output in processes.map(run_tests, [tmp_path] * len(groups), groups):
        assert code == pytest.ExitCode.OK, output[-2000:]
