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
# memory that was freed is kept: to ask the system for every large block anew took a third of the time
CHECKING |= {"MALLOC_MMAP_THRESHOLD_": f"{32 << 20}", "MALLOC_TRIM_THRESHOLD_": f"{1 << 30}"}
CHECKING |= {"MALLOC_TOP_PAD_": f"{64 << 20}"}
#: architectures that one process computes: to import the library takes as long as a network or two
TOGETHER = 10
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


def deaths(architectures: list[str], widths: str, sizes: str, **environment: str) -> list[str]:
    """Which networks ended their process, and how; after each of them the others go on in a new one."""
    found = []
    while architectures:
        words = ("-m", "tests.helpers.every_network", ",".join(architectures), widths, sizes)
        done = checked(*words, **environment)
        if done.returncode == 0:
            return found
        last = done.stdout.splitlines()[-1]
        found.append(f"status {done.returncode} in {last}\n{done.stderr[-2000:]}")
        architectures = architectures[architectures.index(last.partition(" ")[0]) + 1 :]
    return found


def test_the_allocator_catches_a_byte_too_far():
    assert checked("-c", A_BYTE_TOO_FAR).returncode < 0


def test_narrow_networks_stay_within_their_memory():
    assert deaths(["resnet6"], "1,2,4,8", "2x16") == []


# torch gives a convolution of fewer than 16 pictures to other code, which 3 pictures in two timesteps reach;
# oneDNN has the same kernels for 16 and for 32, but for one that reorders gradients, which one network is enough for
@pytest.mark.full
@pytest.mark.parametrize("instructions", ["SSE41", "AVX2", "DEFAULT"])
@pytest.mark.parametrize("first", range(0, len(ARCHITECTURES), TOGETHER))
def test_every_network_stays_within_its_memory(first, instructions):
    if instructions == "AVX2" and "avx512" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("AVX2 is all that this processor has, which is the test without a limit")
    together = list(ARCHITECTURES)[first : first + TOGETHER]
    assert deaths(together, "1,2,3,4,8,16", "1x16,2x3", ONEDNN_MAX_CPU_ISA=instructions) == []


@pytest.mark.full
def test_more_pictures_stay_within_their_memory():
    assert deaths(["resnet6"], "16", "2x16") == []
