"""No network writes outside of its memory: each is computed under an allocator that checks every block of memory.

The C library's checking allocator ends a process that wrote beside a block, once that block is freed. Vector
instructions are held back too, since what is written depends on how many numbers a register holds.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from ternary_spike.models.registry import ARCHITECTURES

ROOT = Path(__file__).parents[1]
LIBRARY = "libc_malloc_debug.so.0"
CHECKING = {"LD_PRELOAD": LIBRARY, "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
WIDTHS = "1,2,3,4,8,16"
# more than 512 bytes, for which Python asks the C library; that gives 1016 and by itself misses nothing
A_BYTE_TOO_FAR = "import ctypes; block = ctypes.create_string_buffer(1001); ctypes.memset(block, 1, 1002); del block"


def checked(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | CHECKING | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", autouse=True)
def checking_allocator():
    if platform.libc_ver()[0] != "glibc" or checked("-c", "").stderr:
        pytest.skip(f"the C library's checking allocator, {LIBRARY}, is not here")


def run_networks(architectures: str, widths: str, timesteps: str, **environment: str) -> None:
    done = checked("-m", "tests.helpers.every_network", architectures, widths, timesteps, **environment)
    assert done.returncode == 0, f"status {done.returncode} in {done.stdout.splitlines()[-1:]}\n{done.stderr[-2000:]}"


def test_the_allocator_catches_a_byte_too_far():
    assert checked("-c", A_BYTE_TOO_FAR).returncode < 0


def test_narrow_networks_stay_within_their_memory():
    run_networks("resnet6", "1,2,4,8", "2")


@pytest.mark.full
@pytest.mark.parametrize("instructions", ["", "SSE41", "AVX2", "AVX512_CORE"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_network_stays_within_its_memory(architecture, instructions):
    if instructions == "AVX512_CORE" and "avx512" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX-512")
    # a 1x1 convolution of a single channel has no weights to standardise
    widths = WIDTHS.removeprefix("1,") if architecture == "resnet34_nf" else WIDTHS
    run_networks(architecture, widths, "1,2", ONEDNN_MAX_CPU_ISA=instructions or "DEFAULT")
