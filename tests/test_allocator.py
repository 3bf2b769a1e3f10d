"""Freed memory stays with the process."""

import os
import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
import torch
from ternary_spike.allocator import keep_freed_memory
{call}
for _ in range(30):  # until the heap is as large as it gets
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)  # 64 MiB: 16,384 pages
print(keep_freed_memory(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
SETTING = {"MALLOC_TRIM_THRESHOLD_": "1000000"}


def faults(call: str, **environment: str) -> tuple[str, int]:
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]} | environment
    done = subprocess.run(
        [sys.executable, "-c", COUNT.format(call=call)], capture_output=True, text=True, env=environment, check=True
    )
    kept, count = done.stdout.split()
    return kept, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is not glibc")
def test_a_freed_tensor_is_not_fetched_from_the_system_again():
    pages = 64 * 2**20 // os.sysconf("SC_PAGE_SIZE")
    kept, count = faults("keep_freed_memory()")
    assert kept == "True" and count < pages / 10
    # what the environment says stands, and shows what happens otherwise
    left, count = faults("keep_freed_memory()", **SETTING)
    assert left == "False" and count > pages
