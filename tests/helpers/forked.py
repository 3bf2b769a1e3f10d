"""Processes of Python that start with slow imports done: copies of one that has done them and nothing else.

Only packages of others are imported beforehand: the library's own code is read by each copy, as it is at that moment.
"""

import atexit
import functools
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

LENGTH_BYTES = 8


class Forked:
    """Starts modules as ``python -m`` does, without the seconds that some imports take; one at a time.

    The process that is copied ends with the one that made this, which waits for it, so that its time is counted.
    """

    def __init__(self, environment: dict[str, str], *modules: str) -> None:
        self.here, there = socket.socketpair()
        # -P: the folder of this file, which has modules of its own, is none to import from
        words = [sys.executable, "-P", __file__, str(there.fileno()), *modules]
        # its environment is what those modules see while they are imported
        self.copied = subprocess.Popen(words, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, env=environment)
        there.close()
        self.answers = self.here.makefile()
        atexit.register(self.end)

    def end(self) -> None:
        self.here.shutdown(socket.SHUT_RDWR)
        self.copied.wait()

    def run(self, folder: Path, environment: dict[str, str], *words: str, timeout: float) -> tuple[int, str]:
        """Exit status and output, of both streams, of ``python -m`` with these words; a timeout is an error."""
        reading, writing = os.pipe()
        request = {"words": words, "folder": str(folder), "environment": environment}
        content = json.dumps(request).encode()
        socket.send_fds(self.here, [len(content).to_bytes(LENGTH_BYTES)], [writing])
        self.here.sendall(content)
        os.close(writing)
        copy = int(self.answers.readline())
        text, end = b"", time.monotonic() + timeout
        with os.fdopen(reading, "rb", buffering=0) as output:
            # as subprocess.run: to the end of the output, which whoever the copy leaves behind may hold open
            while select.select([output], [], [], max(0, end - time.monotonic()))[0]:
                part = output.read(65536)
                if not part:
                    return int(self.answers.readline()), text.decode()
                text += part
        os.kill(copy, signal.SIGKILL)
        self.answers.readline()
        raise subprocess.TimeoutExpired(list(words), timeout, text)


@functools.cache
def forked(*modules: str) -> Forked:
    """What every test of this process starts copies of."""
    return Forked({key: value for key, value in os.environ.items() if key != "PYTHONPATH"}, *modules)


def serve(connection: socket.socket) -> None:
    """Make copies for whoever is at the other end, until there is nobody."""
    while True:
        head, files, _, _ = socket.recv_fds(connection, LENGTH_BYTES, 1)
        if not head:
            return
        content = connection.recv(int.from_bytes(head), socket.MSG_WAITALL)
        copy = os.fork()
        if copy == 0:
            connection.close()
            become(json.loads(content), files[0])
            return
        os.close(files[0])
        connection.sendall(f"{copy}\n".encode())
        connection.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])}\n".encode())


def become(request: dict, output: int) -> None:
    """Run a module in this process, which ends as Python ends then: no other code comes after it."""
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    module, *arguments = request["words"]
    sys.path.insert(0, request["folder"])
    sys.argv = [module, *arguments]
    sys.orig_argv = [sys.executable, "-m", *sys.argv]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    serve(socket.socket(fileno=int(sys.argv[1])))
