"""What the compiler would make of the neurons' kernels for an H100, on a machine without one.

torch's compiler and Triton need a GPU to run what they make, not to make it, once they are told what it is like. The
kernels are traced as :mod:`ternary_spike.membrane.backends` gives them to the compiler on a GPU, for an unknown number
of rows, and translated down to PTX and machine code. Printed, as JSON, are each one's memory instructions, contractions
and spilled registers. Call: ``triton_code.py TIMESTEPS``.
"""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import types
import warnings
from collections import Counter
from pathlib import Path
from unittest import mock

import torch
import triton
from torch._dynamo.device_interface import CudaInterface
from torch._inductor import config
from torch._inductor.codecache import PyCodeCache
from torch._inductor.debug import DebugContext
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.graph import GraphLowering
from torch._inductor.runtime import triton_helpers
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from triton.backends.compiler import GPUTarget

from ternary_spike.membrane.compiled import LANES, compiler_options
from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.membrane.kernel import Kernel, compute_at_once
from ternary_spike.membrane.multi_step import neuron_backward, neuron_forward
from ternary_spike.membrane.potential_terms import TERMS
from ternary_spike.models.normalise_and_fire import normalised_backward, normalised_forward

H100 = types.SimpleNamespace(
    name="NVIDIA H100", major=9, minor=0, multi_processor_count=132, regs_per_multiprocessor=65536, warp_size=32,
    max_threads_per_multi_processor=2048, max_threads_per_block=1024, total_memory=80 * 2**30, L2_cache_size=50 * 2**20,
    shared_memory_per_block=49152, shared_memory_per_block_optin=232448,
)  # fmt: skip
TARGET = GPUTarget("cuda", 90, 32)


class Driver:
    """Triton's view of the device."""

    def get_current_target(self) -> GPUTarget:
        return TARGET

    def get_current_device(self) -> int:
        return 0


@contextlib.contextmanager
def described_device():
    def answer(value):
        return lambda *arguments, **named: value

    stand_ins = [
        (torch.cuda, "is_available", answer(True)),
        (torch.cuda, "current_device", answer(0)),
        (torch.cuda, "get_device_properties", answer(H100)),
        (torch.cuda, "get_device_capability", answer((9, 0))),
        (CudaInterface, "is_available", staticmethod(answer(True))),
        (CudaInterface, "get_compute_capability", staticmethod(answer(90))),
        (CudaInterface, "get_device_properties", staticmethod(answer(H100))),
        (CudaInterface.Worker, "get_device_properties", staticmethod(answer(H100))),
        (CudaInterface.Worker, "current_device", staticmethod(answer(0))),
        (triton_helpers, "set_driver_to_gpu", answer(None)),
        # what tracing through torch.compile would do to it
        (torch.compiler, "is_compiling", answer(True)),
    ]
    triton.runtime.driver.set_active(Driver())
    with contextlib.ExitStack() as stack:
        for owner, name, value in stand_ins:
            stack.enter_context(mock.patch.object(owner, name, value))
        yield


def source(kernel: Kernel, timesteps: int, sequences: list[str], absent: list[str], shared: dict, dtype) -> str:
    """The compiler's Python program for a kernel.

    Args:
        kernel: what to compile.
        timesteps: of each sequence.
        sequences, absent: names of those that are there, and of those that are not.
        shared: shape and dtype of each shared tensor, by name.
        dtype: of the sequences.
    """
    mode = FakeTensorMode(shape_env=ShapeEnv(duck_shape=False), static_shapes=False)
    any_rows = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC, DimDynamic.STATIC])
    rows = [
        mode.from_tensor(torch.empty(4096, LANES), static_shapes=False, symbolic_context=any_rows).shape
        for _ in range(len(sequences) * timesteps)
    ]

    def whole(*given):
        given = list(given)
        steps = {name: [given.pop(0) for _ in range(timesteps)] for name in sequences}
        # taken apart, because to index a tensor of a device that is not there fails
        fixed = {name: x.unbind(0) if x.dim() == 2 else x for name, x in zip(shared, given, strict=True)}
        results = compute_at_once(kernel, steps | dict.fromkeys(absent), fixed, sum_rows=True)
        return [*results.outputs.values(), *results.sums.values()]

    with mode:
        given = [torch.empty(shape, device="cuda", dtype=dtype) for shape in rows]
        given += [torch.empty(shape, device="cuda", dtype=kind) for shape, kind in shared.values()]
        plain = torch.func.functionalize(whole, remove="mutations_and_views")
        traced = make_fx(plain, decomposition_table=select_decomp_table())(*given)
    graph = GraphLowering(traced, shape_env=mode.shape_env, example_inputs=given)
    options = compiler_options("cuda")
    with config.patch(options), V.set_fake_mode(mode), V.set_debug_handler(DebugContext()), V.set_graph_handler(graph):
        graph.run(*given)
        return graph.codegen()[0].value


def translated(program: str) -> list[dict]:
    """Each kernel of a program: its name, memory instructions by width, contractions and spilled bytes a thread."""
    found = []
    for name, text in re.findall(r"async_compile\.triton\('(\w+)', '''(.*?)''', device_str", program, re.DOTALL):
        kernel = getattr(PyCodeCache.load(text), name)
        meta, choice = kernel.triton_meta, kernel.configs[0]
        fixed = {**meta["constants"], **choice.kwargs}
        names = list(meta["signature"])
        ast = triton.compiler.ASTSource(
            kernel.fn,
            {n: "constexpr" if n in fixed else t for n, t in meta["signature"].items()},
            {(names.index(n),): value for n, value in fixed.items() if n in names},
            meta["configs"][0],
        )
        options = {
            "num_warps": choice.num_warps,
            "num_stages": choice.num_stages,
            "enable_fp_fusion": meta["enable_fp_fusion"],
        }
        ptx = triton.compile(ast, target=TARGET, options=options).asm["ptx"]
        accesses = Counter(
            f"{verb} {width}" for verb, width in re.findall(r"\b(ld|st)\.global\S*?\.((?:v\d\.)?b\d+)\b", ptx)
        )
        found.append(
            {
                "name": name,
                "accesses": accesses,
                "contracted": len(re.findall(r"\bfma\.", ptx)),
                "spilled_bytes": spilled_bytes(ptx),
            }
        )
    return found


def spilled_bytes(ptx: str) -> int:
    """What a thread has to keep in memory for want of registers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        command = [triton.knobs.nvidia.ptxas.path, "-v", "--gpu-name=sm_90a", path, "-o", path.with_suffix(".cubin")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return sum(int(count) for count in re.findall(r"(\d+) bytes spill stores", done.stderr))


def main() -> None:
    timesteps = int(sys.argv[1])
    constants = Dynamics(decay=0.3)  # not a power of two: a contracted multiplication would show
    amplitude = {"amplitude": ((1,), torch.float32)}
    per_channel = dict.fromkeys(("scale", "shift"), ((timesteps, LANES), torch.float32))
    normalised = per_channel | amplitude | {"has_shortcut": ((1,), torch.bool)}
    terms = tuple(TERMS)
    kernels = {
        "neuron forward": (Kernel(neuron_forward, (constants, False)), ["x"], ["v"], amplitude),
        "neuron backward": (Kernel(neuron_backward, (constants,)), ["x", "grad_y"], ["v", "grad_last"], amplitude),
        "normalised forward": (Kernel(normalised_forward, (constants,)), ["y", "shortcut"], [], normalised),
        "normalised backward": (
            Kernel(normalised_backward, (constants,)),
            ["y", "grad_spikes", "shortcut"],
            [],
            normalised,
        ),
        "forward with terms": (Kernel(normalised_forward, (constants, terms)), ["y", "shortcut"], [], normalised),
        "backward with terms and channels' amplitudes": (
            Kernel(normalised_backward, (constants, terms, True)),
            ["y", "grad_spikes", "shortcut"],
            [],
            normalised | dict.fromkeys(("amplitude", *terms), ((LANES,), torch.float32)),
        ),
    }
    found = {}
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, described_device():
        triton.knobs.cache.dir = folder
        for name, (kernel, sequences, absent, shared) in kernels.items():
            for dtype in (torch.float32, torch.bfloat16):
                program = source(kernel, timesteps, sequences, absent, shared, dtype)
                found[f"{name}, {str(dtype).removeprefix('torch.')}"] = translated(program)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
