"""Freed memory stays with the process."""

import os
import platform
import subprocess
import sys

import pytest

from ternary_spike.system.allocator import raise_thresholds

COUNT = """
import resource
from ternary_spike.system.allocator import keep_freed_memory
kept = keep_freed_memory()
{block}
for _ in range(10):  # until the heap is as large as it gets
    block()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    block()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
# 64 MiB, 16,384 pages: of torch, and of Python itself, which is there at once
TENSOR = "import torch; block = lambda: torch.ones(2**24)"
BYTES = "block = lambda: bytes(2**26).translate(None)"
SETTING = {"MALLOC_TRIM_THRESHOLD_": "1000000"}
TUNABLE = {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1000000"}


def faults(block: str, **environment: str) -> tuple[str, int]:
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]} | environment
    done = subprocess.run(
        [sys.executable, "-c", COUNT.format(block=block)], capture_output=True, text=True, env=environment, check=True
    )
    kept, count = done.stdout.split()
    return kept, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is not glibc")
def test_a_freed_tensor_is_not_fetched_from_the_system_again():
    kept, count = faults(TENSOR)
    # what the environment says stands, and shows what happens otherwise; huge pages need few faults
    for setting in (SETTING, TUNABLE):
        left, otherwise = faults(BYTES, **setting)
        assert left == "False" and otherwise > 10 * count + 100
    assert kept == "True"


@pytest.mark.parametrize(
    ("largest", "wanted", "done"),
    [
        (2**31 - 1, [(-3, 2**31 - 1), (-1, 2**31 - 1)], True),
        (2**25, [(-3, 2**31 - 1), (-3, 2**25), (-1, 2**31 - 1)], True),
        (0, [(-3, 2**31 - 1), (-3, 2**25)], False),  # the other one alone would slow things down
    ],
)
def test_what_is_asked_of_a_c_library_that_takes_less(largest, wanted, done):
    asked = []

    def mallopt(option, value):
        asked.append((option, value))
        return int(option == -1 or value <= largest)

    assert raise_thresholds(mallopt) is done
    assert asked == wanted
