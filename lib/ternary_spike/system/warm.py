"""A warm interpreter: short commands without the seconds that importing torch takes, by copies of one that has.

``python -m ternary_spike.system.warm SOCKET FD MODULE...`` imports the modules once and waits. Whoever calls a verb
while the environment names its socket (:data:`VARIABLE`) is served by a copy of it, with the caller's arguments,
folder, environment and files; signals reach the copy, and the caller ends as the copy does. A notebook's kernel is
served in the same way (cli/_kernel.py). What a caller needs beyond those modules is imported when the first one asks
for it, so that no training's memory holds what draws figures. Only packages of others are imported beforehand: the
library's own code is read by each copy, as it is at that moment. Where there is no such interpreter, or its environment
would give other results, the caller does the work itself.

It ends when FD, the reading end of a pipe, is closed at the other end, so with the process that started it. A copy is
killed with its caller.
"""

import atexit
import contextlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

#: of the environment: where the socket is
VARIABLE = "TERNARY_SPIKE_WARM"
#: of a copy's environment: its process, which does the work itself and must not ask again; what it starts may ask
COPY = "TERNARY_SPIKE_COPY"
PACKAGE = "ternary_spike"
#: of variables that libraries read when they are imported, and that may decide results or speed
DECISIVE = (
    "OMP_",
    "GOMP_",
    "KMP_",
    "MKL_",
    "OPENBLAS_",
    "DNNL_",
    "ONEDNN_",
    "ATEN_",
    "TORCH_",
    "MALLOC_",
    "GLIBC_",
    "LD_",
)
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
LENGTH_BYTES = 8
SECONDS = 2  # how long a caller may take over saying what it wants, while others wait


def call(arguments: Sequence[str], modules: Sequence[str] = (), main: str = PACKAGE) -> int | None:
    """Let the warm interpreter run a verb, or another program of Python's.

    Args:
        arguments: what follows ``python -m MAIN``.
        modules: names of what the work imports, of others' packages; the interpreter keeps them for later calls.
        main: the module that is run.

    Returns:
        Its exit status; None if there is no warm interpreter, or it would compute with other settings. Where the copy
        was ended by a signal, this process is too.
    """
    where = os.environ.get(VARIABLE)
    if not where or os.environ.get(COPY) == str(os.getpid()):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(where)
    except OSError:
        return None
    request = {
        "main": main,
        "modules": list(modules),
        "arguments": list(arguments),
        "folder": str(Path.cwd()),
        "path": sys.path,
        "environment": dict(os.environ),
    }
    content = json.dumps(request).encode()
    with connection:
        try:
            socket.send_fds(connection, [len(content).to_bytes(LENGTH_BYTES)], [0, 1, 2])
            connection.sendall(content)
            answers = connection.makefile()
            copy = answers.readline()
        except OSError:
            return None  # it ended before it had begun
        if not copy.strip():
            return None
        for number in FORWARDED:
            signal.signal(number, lambda received, _: _send(int(copy), received))
        return _end_as(answers.readline())


def _send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _end_as(status: str) -> int:
    """The exit status of a copy; ends this process by the signal that ended the copy."""
    if not status.strip():
        print("error: the warm interpreter ended before its work was done; call again", file=sys.stderr)
        return 1
    code = int(status)
    if code < 0:
        if -code in FORWARDED:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def decisive(environment: dict[str, str]) -> dict[str, str]:
    """The variables that must be alike in the interpreter and in a call."""
    return {key: value for key, value in environment.items() if key.startswith(DECISIVE)}


def serve(where: Path, until: int, modules: Sequence[str]) -> None:
    """Import the modules, then serve calls until the pipe's other end is closed.

    Args:
        where: path of the socket to make; at the end it is removed, and its folder if nothing else is in it.
        until: file descriptor of the pipe's reading end.
        modules: names of what to import at once.
    """
    os.setsid()  # a terminal's Ctrl-C reaches the callers, who pass it on
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a copy but its own parent
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(where))
    server.listen(128)  # from now on callers wait until the modules are there
    try:
        _import(modules)
        while until not in select.select([server, until], [], [])[0]:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError, ValueError):  # the caller is gone
                request, files = _received(connection)
                _import(request["modules"])
                if os.fork() == 0:
                    server.close()
                    os.close(until)
                    _attend(connection, request, files)
                for file in files:
                    os.close(file)
    finally:
        where.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            where.parent.rmdir()


def _import(modules: Sequence[str]) -> None:
    """Import what is not there yet. What cannot be imported is left to the copies, who say so if they need it."""
    for name in modules:
        with contextlib.suppress(ImportError):
            import_module(name)


def _received(connection: socket.socket) -> tuple[dict, list[int]]:
    """A call and the caller's open files."""
    connection.settimeout(SECONDS)
    head, files, _, _ = socket.recv_fds(connection, LENGTH_BYTES, 3)
    request = json.loads(connection.makefile("rb").read(int.from_bytes(head)))
    connection.settimeout(None)
    return request, files


def _attend(connection: socket.socket, request: dict, files: Sequence[int]) -> None:
    """Serve one call in a process of its own, which never returns."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if len(files) == 3 and decisive(request["environment"]) == decisive(dict(os.environ)):
            print("served:", request["main"], *request["arguments"][:1], flush=True)
            copy = os.fork()
            if copy == 0:
                _work(request, files)
            for file in files:
                os.close(file)
            try:
                connection.sendall(f"{copy}\n".encode())
                select.select([os.pidfd_open(copy), connection], [], [])
            finally:
                _send(copy, signal.SIGKILL)  # the caller is gone, or the copy has ended and this does nothing
            status = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
            connection.sendall(f"{status}\n".encode())
    except (OSError, ValueError):
        pass  # the caller is gone
    finally:
        os._exit(0)


def _work(request: dict, files: Sequence[int]) -> None:
    """Be the caller: its files, folder, environment, arguments; run the module and end as it does."""
    code = 1
    try:
        for target, file in enumerate(files):
            os.dup2(file, target)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        os.environ[COPY] = str(os.getpid())
        sys.path[:] = request["path"]
        sys.argv = [request["main"], *request["arguments"]]
        sys.orig_argv = [sys.executable, "-m", *sys.argv]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
        runpy.run_module(request["main"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = _code_of(end)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _code_of(end: SystemExit) -> int:
    """The exit status that Python gives an exception."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def new_socket() -> Path:
    """A path for a socket in a new folder of the system's temporary folder, short enough for the system."""
    return Path(tempfile.mkdtemp(prefix="ternary-spike-")) / "warm"


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
