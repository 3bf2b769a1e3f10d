"""A warm interpreter: callers are served as if they had done the work, and do it themselves where they are not."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from ternary_spike.system import warm

LIBRARY = Path(__file__).parents[2] / "lib"
pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no pidfd_open")
# a caller that says whether it was served, and ends as the copy did
CALLER = """
import os, sys
from ternary_spike.system import warm
sys.path.insert(0, sys.argv[1])
status = warm.call(sys.argv[2:], os.environ.get("MODULES", "").split(), os.environ.get("MAIN", "ternary_spike"))
print("not served" if status is None else f"served: {status}")
sys.exit(status or 0)
"""
# what stands in for the library: each call reads its code anew
VERBS = """
import json, os, sys, time
verb, *rest = sys.argv[1:]
if verb == "say":
    print(json.dumps([rest, os.getcwd(), os.environ.get("WORD"), sys.stdin.read(), "colorsys" in sys.modules]))
elif verb == "end":
    sys.exit({"none": None, "words": "so it ended"}.get(rest[0], int(rest[0]) if rest[0].isdigit() else 0))
elif verb == "fail":
    raise RuntimeError("a mistake of the program")
elif verb == "knows":
    print([name in sys.modules for name in rest])
elif verb == "ask again":
    sys.path.append(os.environ["PYTHONPATH"])
    import ternary_spike, subprocess
    ternary_spike.__path__.append(os.environ["PYTHONPATH"] + "/ternary_spike")
    from ternary_spike.system import warm
    print("itself:", warm.call(["knows", "sys"]))
    print("its child:", subprocess.run(rest, capture_output=True, text=True).stdout)
elif verb == "wait":
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


@contextmanager
def interpreter(folder: Path, *modules: str, program: tuple[str, ...] = ("-m", "ternary_spike.system.warm")):
    """A warm interpreter with these modules, and what a call's environment must say to reach it."""
    reading, writing = os.pipe()
    where = folder / "its own" / "socket"
    where.parent.mkdir()
    environment = os.environ | {"PYTHONPATH": str(LIBRARY)}
    command = [sys.executable, *program, str(where), str(reading), *modules]
    process = subprocess.Popen(command, env=environment, pass_fds=[reading])
    os.close(reading)
    while not where.exists():
        assert process.poll() is None
        time.sleep(0.02)
    try:
        yield environment | {warm.VARIABLE: str(where)}, process
    finally:
        os.close(writing)
        assert process.wait(30) == 0
        assert not where.parent.exists()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with interpreter(tmp_path_factory.mktemp("warm"), "colorsys") as (environment, _):
        yield environment


@pytest.fixture
def library(tmp_path):
    package = tmp_path / "library" / "ternary_spike"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(VERBS)
    return tmp_path / "library"


def words(library: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-c", CALLER, str(library), *arguments]


def called(environment: dict, library: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    command = words(library, *arguments)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, **options)


def test_the_copy_has_the_caller_s_arguments_folder_environment_and_files(served, library, tmp_path):
    done = called(served | {"WORD": "said"}, library, "say", "--a", "b c", cwd=tmp_path, input="asked")
    said, last = done.stdout.splitlines()
    assert json.loads(said) == [["--a", "b c"], str(tmp_path), "said", "asked", True]
    assert last == "served: 0" and done.returncode == 0 and not done.stderr


@pytest.mark.parametrize(
    "verb, status", [(("end", "none"), 0), (("end", "3"), 3), (("end", "words"), 1), (("fail",), 1)]
)
def test_the_caller_ends_as_the_copy_does(served, library, verb, status):
    done = called(served, library, *verb)
    assert done.returncode == status and done.stdout == f"served: {status}\n"
    expected = {"words": "so it ended\n"}.get(verb[-1], "")
    assert done.stderr == expected if verb[0] == "end" else "RuntimeError: a mistake of the program" in done.stderr


def test_code_that_has_changed_meanwhile_is_what_runs(served, library):
    (library / "ternary_spike" / "__main__.py").write_text("print('other code')\n")
    assert called(served, library, "say").stdout == "other code\nserved: 0\n"


def test_what_a_call_needs_is_imported_for_it_and_kept_for_later_ones(library, tmp_path):
    with interpreter(tmp_path) as (environment, process):
        assert called(environment, library, "knows", "colorsys").stdout.startswith("[False]\n")
        asked = environment | {"MODULES": "no_such_module colorsys"}
        assert called(asked, library, "knows", "colorsys").stdout.startswith("[True]\n")
        assert called(environment, library, "knows", "colorsys").stdout.startswith("[True]\n")
        assert process.poll() is None


def test_a_second_process_serves_those_who_ask_for_its_modules_and_for_nothing_else(library, tmp_path):
    with interpreter(tmp_path, "colorsys", "--", "sched", "wave") as (environment, process):
        names = ("colorsys", "sched", "wave")
        for asked, known in (("sched", [False, True, False]), ("sched colorsys", [True, True, False])):
            done = called(environment | {"MODULES": asked}, library, "knows", *names)
            assert done.stdout == f"{known}\nserved: 0\n", asked
        assert called(environment | {"MODULES": "sched"}, library, "end", "3").returncode == 3
        second = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    assert gone(second)


def test_the_second_process_imports_its_modules_when_nobody_has_asked_for_a_while(library, tmp_path):
    impatient = "import sys; from pathlib import Path; from ternary_spike.system import warm; warm.PATIENCE = 0.0; "
    impatient += "warm.serve(Path(sys.argv[1]), int(sys.argv[2]), [], ['sched', 'wave'])"
    with interpreter(tmp_path, program=("-c", impatient)) as (environment, _):
        done = called(environment | {"MODULES": "sched"}, library, "knows", "wave")
        assert done.stdout == "[True]\nserved: 0\n"


def test_a_second_process_that_was_killed_leaves_the_work_to_the_caller(library, tmp_path):
    with interpreter(tmp_path, "--", "sched") as (environment, process):
        os.kill(int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()), signal.SIGKILL)
        assert called(environment | {"MODULES": "sched"}, library, "knows", "sched").stdout == "not served\n"
        assert called(environment, library, "knows", "sched").stdout == "[False]\nserved: 0\n"


def test_another_program_than_the_library_is_run_by_its_name(served, library):
    (library / "another.py").write_text("import sys\nprint(__name__, sys.argv[1:])\n")
    done = called(served | {"MAIN": "another"}, library, "--a", "b")
    assert done.stdout == "__main__ ['--a', 'b']\nserved: 0\n"


def test_a_copy_does_its_own_work_and_its_children_are_served(served, library):
    done = called(served, library, "ask again", *words(library, "knows", "colorsys"))
    assert done.stdout == "itself: None\nits child: [True]\nserved: 0\n\nserved: 0\n" and not done.stderr


def test_a_caller_who_says_nothing_keeps_others_waiting_for_seconds_only(library, tmp_path):
    with interpreter(tmp_path) as (environment, _), socket.socket(socket.AF_UNIX) as silent:
        silent.connect(environment[warm.VARIABLE])
        assert called(environment, library, "knows", "sys").stdout == "[True]\nserved: 0\n"


@pytest.fixture
def waiting(served, library):
    """A caller whose copy is at work, and the copy's process."""
    caller = subprocess.Popen(words(library, "wait"), env=served, stdout=subprocess.PIPE, text=True)
    yield caller, int(caller.stdout.readline())
    caller.kill()
    caller.wait()
    caller.stdout.close()


def gone(process: int) -> bool:
    """Whether a process has ended within ten seconds."""
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_signal_reaches_the_copy_and_ends_both(waiting):
    caller, copy = waiting
    caller.send_signal(signal.SIGTERM)
    assert caller.wait(30) == -signal.SIGTERM and gone(copy)


def test_a_killed_copy_is_what_the_caller_says_it_is(waiting):
    caller, copy = waiting
    os.kill(copy, signal.SIGKILL)
    assert caller.wait(30) == -signal.SIGKILL


def test_a_copy_does_not_outlive_its_caller(waiting):
    caller, copy = waiting
    caller.kill()
    caller.wait()
    assert gone(copy)


def test_other_settings_or_no_interpreter_leave_the_work_to_the_caller(served, library, tmp_path):
    assert called(served | {"OMP_NUM_THREADS": "7"}, library, "say").stdout == "not served\n"
    assert called(served | {warm.VARIABLE: str(tmp_path / "nowhere")}, library, "say").stdout == "not served\n"
    without = {key: value for key, value in served.items() if key != warm.VARIABLE}
    assert called(without, library, "say").stdout == "not served\n"


def test_who_started_it_may_end_and_leaves_the_work_that_was_begun(library, tmp_path):
    with interpreter(tmp_path) as (environment, process):
        caller = subprocess.Popen(words(library, "wait"), env=environment, stdout=subprocess.PIPE, text=True)
        copy = int(caller.stdout.readline())
    assert process.returncode == 0 and caller.poll() is None
    os.kill(copy, signal.SIGTERM)
    assert caller.wait(30) == -signal.SIGTERM
    caller.stdout.close()
