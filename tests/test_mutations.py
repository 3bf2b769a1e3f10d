"""Each equation of the neuron, changed in a small way, must make its tests fail."""

import shutil
import subprocess
import sys
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
    ("dynamics.py", "v = potentials[-1] - firing[-1]", "v = potentials[-1]"),
    ("dynamics.py", "g * h.sign() if total", "g * h if total"),
    ("dynamics.py", "total.addcmul_(g, h.sign())", "g * h.sign()"),
    ("dynamics.py", "grad_u.addcmul_(carried, _reset_slope(u, h, s, dynamics))", "grad_u.add_(carried)"),
    ("dynamics.py", "(g * amplitude.to(g.dtype)).mul_(s)", "g * s"),
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
]  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize(("file", "equation", "slip"), MUTATIONS)
def test_a_slip_in_an_equation_is_found(tmp_path, file, equation, slip):
    package = tmp_path / "ternary_spike"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    source = (package / file).read_text()
    assert source.count(equation) == 1, f"{equation!r} is no longer in {file}: bring this list up to date"
    (package / file).write_text(source.replace(equation, slip))
    tests = [str(ROOT / "tests" / name) for name in ("test_dynamics.py", "test_surrogate.py")]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    done = subprocess.run(
        [*command, "-o", f"pythonpath={tmp_path} {ROOT}"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1, done.stdout[-2000:]  # 1: tests failed; anything else: they did not run


@pytest.mark.full
def test_without_a_slip_the_same_tests_pass(tmp_path):
    package = tmp_path / "ternary_spike"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    tests = [str(ROOT / "tests" / name) for name in ("test_dynamics.py", "test_surrogate.py")]
    done = subprocess.run([*command, *tests, "-o", f"pythonpath={tmp_path} {ROOT}"], capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:]
