"""A warm interpreter: short commands without the seconds that importing torch takes, by copies of one that has.

``python -m ternary_spike.system.warm SOCKET FD MODULE... [-- MODULE...]`` imports the modules once and waits. Whoever
calls a verb while the environment names its socket (:data:`VARIABLE`) is served by a copy of it, with the caller's
arguments, folder, environment and files; signals reach the copy, and the caller ends as the copy does. A notebook's
kernel is served in the same way (cli/_kernel.py). What a caller needs beyond those modules is imported when the first
one asks for it. Modules behind ``--`` are imported by a second process, for those who ask for nothing else: so no
training's memory holds what draws figures, and they are there when the trainings have ended. Only packages of others
are imported beforehand: the library's own code is read by each copy, as it is at that moment. Where there is no such
interpreter, or its environment would give other results, the caller does the work itself.

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
PATIENCE = 20.0  # seconds until the second process imports what nobody has asked for: short calls do without


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
    with connection:
        try:
            _ask(connection, request, (0, 1, 2))
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


def serve(where: Path, until: int, modules: Sequence[str], others: Sequence[str] = ()) -> None:
    """Import the modules, then serve calls until the pipe's other end is closed.

    Args:
        where: path of the socket to make; at the end it is removed, and its folder if nothing else is in it.
        until: file descriptor of the pipe's reading end.
        modules: names of what to import at once.
        others: names of what a second process imports, which serves those who ask for some of these and nothing else.
    """
    os.setsid()  # a terminal's Ctrl-C reaches the callers, who pass it on
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a copy but its own parent
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(where))
    server.listen(128)  # from now on callers wait until the modules are there
    unneeded = [server.fileno(), until]
    second = _second_process(others, unneeded) if others else None
    unneeded += [second.fileno()] if second else []
    try:
        _import(modules)
        while until not in select.select([server, until], [], [])[0]:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError, ValueError):  # the caller is gone
                request, files = _received(connection)
                try:
                    if second and request["modules"] and set(request["modules"]) <= set(others):
                        _ask(second, request, [*files, connection.fileno()])
                    else:
                        _copy_for(connection, request, files, unneeded)
                finally:
                    for file in files:  # or who waits for the end of the caller's output would wait for this process
                        os.close(file)
    finally:
        where.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            where.parent.rmdir()


def _second_process(modules: Sequence[str], unneeded: Sequence[int]) -> socket.socket:
    """A process that imports these modules, and copies of which serve what comes to it; it ends when this one does.

    Args:
        modules: names of what to import.
        unneeded: file descriptors that it closes.

    Returns:
        The socket by which callers are handed over to it.
    """
    here, there = socket.socketpair()
    if os.fork():
        there.close()
        return here
    try:
        here.close()
        for file in unneeded:
            os.close(file)
        if not select.select([there], [], [], PATIENCE)[0]:
            _import(modules)
        while True:
            request, files = _received(there, None)
            connection = socket.socket(fileno=files.pop())
            with connection:
                _copy_for(connection, request, files, [there.fileno()])
            for file in files:
                os.close(file)
    finally:
        os._exit(0)


def _copy_for(connection: socket.socket, request: dict, files: Sequence[int], unneeded: Sequence[int]) -> None:
    """Serve a call by a copy of this process, with what the call needs imported before."""
    _import(request["modules"])
    if os.fork() == 0:
        for file in unneeded:
            os.close(file)
        _attend(connection, request, files)


def _import(modules: Sequence[str]) -> None:
    """Import what is not there yet. What cannot be imported is left to the copies, who say so if they need it."""
    for name in modules:
        with contextlib.suppress(ImportError):
            import_module(name)


def _ask(connection: socket.socket, request: dict, files: Sequence[int]) -> None:
    """Send a call and open files."""
    content = json.dumps(request).encode()
    socket.send_fds(connection, [len(content).to_bytes(LENGTH_BYTES)], list(files))
    connection.sendall(content)


def _received(connection: socket.socket, seconds: float | None = SECONDS) -> tuple[dict, list[int]]:
    """A call and open files, as :func:`_ask` sends them. Raises OSError where nobody sends any more."""
    connection.settimeout(seconds)
    head, files, _, _ = socket.recv_fds(connection, LENGTH_BYTES, 4)
    content = bytearray()
    while head and len(content) < int.from_bytes(head):
        part = connection.recv(int.from_bytes(head) - len(content))
        content, head = content + part, head if part else b""
    if not head:
        raise ConnectionAbortedError("the other end was closed")
    connection.settimeout(None)
    return json.loads(content), files


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
    names = sys.argv[3:]
    end = names.index("--") if "--" in names else len(names)
    serve(Path(sys.argv[1]), int(sys.argv[2]), names[:end], names[end + 1 :])
