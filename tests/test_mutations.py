"""Each equation of the neuron, changed in a small way, must make its tests fail.

A change is named by the definition that it is made in and by the code there, as Python reads it: comments, line breaks
and what else the module holds may change without this list.
"""

import ast
import contextlib
import copy
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

# module:definition, an expression or a statement that is there once, what a slip would make of it
DYNAMICS, IN_PLACE, SURROGATE = "membrane.dynamics", "membrane.in_place", "membrane.surrogate"
FUSED, PIECES = "models.normalise_and_fire", "membrane.kernel:compute_in_pieces"
COMPILED, BACKENDS = "membrane.compiled", "membrane.backends"
MUTATIONS = [
    # the paper's spelling
    (f"{DYNAMICS}:charge", "v * dynamics.decay + x", "v + x"),
    (f"{DYNAMICS}:charge", "v * dynamics.decay + x", "v * dynamics.decay - x"),
    (f"{DYNAMICS}:is_silent", "u.abs() if dynamics.signed else u", "u.abs()"),
    (f"{DYNAMICS}:is_silent", "u.abs() if dynamics.signed else u", "u if dynamics.signed else u.abs()"),
    (
        f"{DYNAMICS}:is_silent",
        "(u.abs() if dynamics.signed else u) < dynamics.threshold",
        "(u.abs() if dynamics.signed else u) <= dynamics.threshold",
    ),
    (f"{DYNAMICS}:firing_part", "torch.where(is_silent(u, dynamics), 0.0, u)", "u"),
    (f"{DYNAMICS}:sign", "2 / dynamics.threshold", "1"),
    (f"{DYNAMICS}:sign", "(h * (2 / dynamics.threshold)).clamp(-1, 1)", "h.sign()"),
    (f"{DYNAMICS}:reset", "u - firing_part(u.to(membrane_dtype(u)), dynamics).to(u.dtype)", "u"),
    (f"{DYNAMICS}:spikes", "b if amplitude is None else b * amplitude.to(b.dtype)", "b"),
    (f"{DYNAMICS}:spikes", "u - h if keep_state or t + 1 < len(currents) else None", "u"),
    (f"{DYNAMICS}:gradients", "v = u - h", "v = u"),
    (f"{DYNAMICS}:gradients", "torch.where(silent, 0.0, u)", "torch.where(silent, u, 0.0)"),
    (f"{DYNAMICS}:gradients", "torch.where(u < 0, -g, g)", "g"),
    (f"{DYNAMICS}:gradients", "g_b if grad_a is None else grad_a + g_b", "g_b"),
    (f"{DYNAMICS}:gradients", "g_b if grad_a is None else grad_a + g_b", "g_b if grad_a is None else grad_a - g_b"),
    (f"{DYNAMICS}:gradients", "g * s", "g"),
    (f"{DYNAMICS}:gradients", "g * amplitude.to(g.dtype) * s", "g * s"),
    (f"{DYNAMICS}:gradients", "-h.abs() * s", "-h.abs()"),
    (f"{DYNAMICS}:gradients", "-h.abs() * s", "h.abs() * s"),
    (
        f"{DYNAMICS}:gradients",
        "torch.zeros_like(u) if dynamics.detach_reset else -h.abs() * s",
        "-h.abs() * s if dynamics.detach_reset else torch.zeros_like(u)",
    ),
    (f"{DYNAMICS}:gradients", "torch.where(silent, 1.0, through_reset)", "torch.where(silent, 0.0, through_reset)"),
    (f"{DYNAMICS}:gradients", "grad_u + carried * slope", "grad_u + carried"),
    (f"{DYNAMICS}:gradients", "grad_u * dynamics.decay", "grad_u"),
    (f"{DYNAMICS}:membrane_dtype", "x.dtype in (torch.bfloat16, torch.float16)", "True"),
    (f"{DYNAMICS}:Dynamics", "torch.nextafter", "torch.add"),
    # the spelling in place
    (f"{IN_PLACE}:firing_part", "F.hardshrink(u, largest_silent)", "u"),
    (f"{IN_PLACE}:firing_part", "F.threshold(u, largest_silent, 0.0)", "F.relu(u)"),
    (f"{IN_PLACE}:sign", "2 / dynamics.threshold", "1"),
    (f"{IN_PLACE}:sign", "(h * (2 / dynamics.threshold)).clamp_(-1, 1)", "h.sign()"),
    (f"{IN_PLACE}:spike_derivative", "holds(torch.le, u, window)", "holds(torch.lt, u, window)"),
    (f"{IN_PLACE}:spike_derivative", "holds(torch.ge, u, 0.0)", "holds(torch.gt, u, 0.0)"),
    (f"{IN_PLACE}:spike_derivative", "holds(torch.le, u.abs(), window)", "holds(torch.lt, u.abs(), window)"),
    (f"{IN_PLACE}:spike_derivative", "2 * window", "window"),
    (f"{IN_PLACE}:spike_derivative", "u.abs() if dynamics.signed else u", "u"),
    (f"{IN_PLACE}:spikes", "u - h if keep_state or t + 1 < len(currents) else None", "u"),
    (f"{IN_PLACE}:integrate", "v = u - firing_part(u, dynamics)", "v = u"),
    (f"{IN_PLACE}:spikes", "u - h", "u - b"),
    (f"{IN_PLACE}:spikes", "b if amplitude is None else b * amplitude.to(b.dtype)", "b"),
    (f"{IN_PLACE}:gradients", "v = u - membranes[-1][1]", "v = u"),
    (f"{IN_PLACE}:gradients", "b = sign(h, dynamics)", "b = h"),
    (f"{IN_PLACE}:gradients", "grad_a.addcmul_(g, b)", "g * b"),
    (f"{IN_PLACE}:gradients", "(g * amplitude.to(g.dtype)).mul_(s)", "g * s"),
    (f"{IN_PLACE}:gradients", "grad_u = g * s", "grad_u = g * 1"),
    (
        f"{IN_PLACE}:gradients",
        "grad_u.addcmul_(carried, reset_slope(h, s, dynamics))",
        "grad_u.add_(carried)",
    ),
    (f"{IN_PLACE}:gradients", "grad_u * dynamics.decay", "grad_u"),
    (f"{IN_PLACE}:reset_slope", "slope.addcmul_(h.abs(), s, value=-1)", "slope.addcmul_(h.abs(), s)"),
    (f"{IN_PLACE}:reset_slope", "slope.addcmul_(h.abs(), s, value=-1)", "slope.sub_(h.abs())"),
    (f"{IN_PLACE}:reset_slope", "slope.addcmul_(h.abs(), s, value=-1)", "slope.addcmul_(h, s, value=-1)"),
    (f"{IN_PLACE}:reset_slope", "dynamics.detach_reset", "not dynamics.detach_reset"),
    ("membrane.spelling:equations", "dynamics if torch.compiler.is_compiling() else in_place", "in_place"),
    (f"{SURROGATE}:derivative", "u.abs() <= window", "u.abs() < window"),
    (f"{SURROGATE}:derivative", "u >= 0", "u > 0"),
    (f"{SURROGATE}:derivative", "u <= window", "u < window"),
    (f"{SURROGATE}:derivative", "(u.abs() if signed else u) - threshold", "u - threshold"),
    (f"{SURROGATE}:derivative", "2 * window", "window"),
    (
        f"{SURROGATE}:derivative",
        "torch.clamp(1 - distance.abs() / window, min=0) / window",
        "torch.clamp(1 - distance.abs() / window, min=0)",
    ),
    (f"{SURROGATE}:derivative", "math.pi * window", "window"),
    (f"{SURROGATE}:derivative", "s * (1 - s) / window", "s * (1 - s)"),
    (f"{SURROGATE}:derivative", "s * (1 - s) * curve.height.to(u.dtype)", "s * (1 - s)"),
    (f"{SURROGATE}:derivative", "distance * curve.steepness.to(u.dtype)", "u * curve.steepness.to(u.dtype)"),
    (
        f"{SURROGATE}:derivative",
        "slope * (distance.abs() <= window).to(u.dtype) if name == 'tanh' else slope",
        "slope",
    ),
    (f"{SURROGATE}:curve", "temperature / window", "temperature"),
    (f"{SURROGATE}:curve", "steepness / torch.tanh(temperature / 2)", "steepness"),
    ("membrane.multi_step:_MultiStep", "grad_y = torch.zeros_like(x)", "grad_y = torch.ones_like(x)"),
    # batch norm and neuron as one
    (f"{FUSED}:_fused", "bn.statistics(y.detach(), timesteps)", "bn.statistics(y.detach(), 1)"),
    (f"{FUSED}:_currents", "step.to(dtype) * scale[t] + shift[t]", "step.to(dtype) * scale[t] - shift[t]"),
    (f"{FUSED}:_currents", "step.to(dtype) * scale[t] + shift[t]", "step.to(dtype) * scale[0] + shift[t]"),
    (f"{FUSED}:_currents", "torch.where(has_shortcut, step, 0.0)", "step"),
    (f"{FUSED}:_NormalisedMultiStep", "bias.to(mean.dtype) - mean * scale", "bias.to(mean.dtype) - mean"),
    (f"{FUSED}:_NormalisedMultiStep", "grad_current if ctx.needs_input_grad[1] else None", "grad_spikes"),
    (
        f"{FUSED}:_NormalisedMultiStep",
        "functools.reduce(torch.add, grad_current.unbind(0)).unsqueeze(0)",
        "grad_current[:1]",
    ),
    (f"{FUSED}:_NormalisedMultiStep", "sum(grads_weight)", "grads_weight[0]"),
    (f"{FUSED}:_NormalisedMultiStep", "sum(grads_bias)", "grads_bias[-1]"),
    (f"{FUSED}:_Rows", "x.permute(0, 1, 3, 4, 2)", "x.permute(0, 1, 4, 3, 2)"),
    (f"{FUSED}:_fusible", "bn.training", "True"),
    (f"{FUSED}:_fusible", "neuron.kernel is not None", "True"),
    (f"{FUSED}:_fusible", "computes_as(bn, BatchNorm2d)", "True"),
    (f"{FUSED}:_fusible", "bn.plain", "True"),
    (f"{FUSED}:_fusible", "has_forward_of(neuron, SpikingNeuron)", "True"),
    (f"{FUSED}:_fusible", "neuron.amplitude.numel() == 1", "True"),
    (f"{FUSED}:_fusible", "m._forward_hooks", "False"),
    (f"{FUSED}:_fusible", "m._forward_pre_hooks", "False"),
    (f"{FUSED}:_fusible", "m._backward_hooks", "False"),
    (f"{FUSED}:_fusible", "m._backward_pre_hooks", "False"),
    (f"{FUSED}:_fusible", "not _has_any_global_hook()", "True"),
    (f"{FUSED}:_as_wide_as", "y.to(wide)", "y"),
    (f"{FUSED}:_split", "len(populations) == 1", "len(populations) >= 1"),
    # the backends
    (f"{COMPILED}:compute_compiled", "given is not None", "given is None"),
    (f"{COMPILED}:compute_compiled", "on_its_own(step)", "step"),
    (f"{COMPILED}:in_lanes", "lead[0].numel() % LANES or LANES % row", "lead[0].numel() % LANES"),
    (f"{COMPILED}:in_lanes", "lead[0].numel() % LANES or LANES % row", "LANES % row"),
    (f"{COMPILED}:in_lanes", "x.reshape(len(x), row).repeat(1, LANES // row)", "x.repeat_interleave(LANES // row, 1)"),
    (f"{COMPILED}:compiled_function", "[0] if lanes else list(range(x.dim()))", "[]"),
    (PIECES, "min(piece, rows - start)", "min(piece, rows - start - 1)"),
    (PIECES, "torch.stack(parts).sum()", "parts[0]"),
    (PIECES, "range(0, rows, piece)", "range(0, rows, piece + 1)"),
    (PIECES, "outputs = output = step = terms = term = None", "pass"),
    (
        f"{BACKENDS}:_without_autocast",
        "torch.autocast(device, enabled=False) if known else contextlib.nullcontext()",
        "contextlib.nullcontext()",
    ),
    (f"{BACKENDS}:choose", "total_steps * updates_per_step * saved < 2 * COMPILE_SECONDS", "saved > 0"),
    (f"{BACKENDS}:_fall_back", "_backend = 'eager'", "pass"),
]

# what has to find the slip: the tests of the equations and of what is built on them
TESTS = {
    **dict.fromkeys(
        (DYNAMICS, IN_PLACE, SURROGATE, "membrane.spelling", "membrane.multi_step"),
        ("membrane/test_dynamics.py", "membrane/test_surrogate.py"),
    ),
    FUSED: ("models/test_normalise_and_fire.py", "models/test_hooks.py"),
    **dict.fromkeys((COMPILED, BACKENDS, "membrane.kernel"), ("membrane/test_backends.py",)),
}


def parsed(code: str) -> ast.AST:
    """An expression, or a statement."""
    (statement,) = ast.parse(code).body
    return statement.value if isinstance(statement, ast.Expr) else statement


class Slip(ast.NodeTransformer):
    """Puts one piece of code in the place of another and counts how often."""

    def __init__(self, code: str, slip: str) -> None:
        self.wanted, self.slip, self.found = ast.dump(parsed(code)), parsed(slip), 0

    def visit(self, node: ast.AST) -> ast.AST:
        if ast.dump(node) != self.wanted:
            return self.generic_visit(node)
        self.found += 1
        return copy.deepcopy(self.slip)


def with_slip(source: str, definition: str, code: str, slip: str) -> str | None:
    """A module's source with a slip in one of its functions or classes; None unless the code is there once."""
    tree = ast.parse(source)
    change = Slip(code, slip)
    for place, node in enumerate(tree.body):
        if getattr(node, "name", None) == definition:
            tree.body[place] = change.visit(node)
    return ast.unparse(ast.fix_missing_locations(tree)) if change.found == 1 else None


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


def unnoticed(folder: Path, place: str, code: str, slip: str) -> str | None:
    """What is wrong with the tests of a slip, or None."""
    module, definition = place.split(":")
    path = copy_package(folder).joinpath(*module.split(".")).with_suffix(".py")
    changed = with_slip(path.read_text(), definition, code, slip)
    if changed is None:
        return f"{code!r} is not in {place}, or more than once: bring this list up to date"
    path.write_text(changed)
    code_of_exit, output = run_tests(folder, TESTS[module])
    if code_of_exit == pytest.ExitCode.OK:
        return f"{place}: no test noticed {slip!r} in place of {code!r}"
    if code_of_exit == pytest.ExitCode.TESTS_FAILED:
        return None
    return f"{place}, {slip!r}, tests did not run: {output[-1000:]}"


@pytest.fixture
def processes():
    """A new process for each call, as many at a time as there are cores, with the slow imports done."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "hypothesis", "torch._dynamo"])
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, max_tasks_per_child=1) as pool:
        yield pool


@pytest.mark.parametrize("place", sorted({place for place, *_ in MUTATIONS}))
def test_every_slip_has_its_place(place):
    """Quick, so that the list is brought up to date with the change that makes it stale."""
    module, definition = place.split(":")
    source = PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text()
    stale = [
        code for where, code, slip in MUTATIONS if where == place and not with_slip(source, definition, code, slip)
    ]
    assert stale == []


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
