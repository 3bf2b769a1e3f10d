"""A user's mistake is made once in a call of the workflow; what may pass by itself is tried again."""

import errno

import pytest

from ternary_spike.cli import MISTAKE, main
from ternary_spike.system import mistakes
from ternary_spike.system.errors import UserError


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Calls a verb as a job of the workflow's call of a name, and gives what it says when it fails."""
    monkeypatch.chdir(tmp_path)

    def of(name: str, *words: str) -> str:
        monkeypatch.setenv(mistakes.VARIABLE, str(tmp_path / "mistakes" / name))
        try:
            main(list(words))
        except SystemExit as end:
            assert end.code == MISTAKE
        return capsys.readouterr().err

    return of


def test_the_next_attempt_says_the_same_and_does_nothing(call, tmp_path):
    plan = ("plan", "--show", "plan.csv")
    first = call("a", *plan)
    assert first.startswith("error: ") and "plan.csv" in first
    (tmp_path / "plan.csv").write_text("not a plan\n")
    assert call("a", *plan) == first
    # another command line, and the next call of the workflow, look for themselves
    assert call("a", "plan", "--show", "./plan.csv") != first and call("b", *plan) != first


def made_of(reason: Exception) -> UserError:
    """As where a file cannot be read or written, or a network not be built."""
    try:
        try:
            raise reason
        except type(reason):
            raise UserError("it cannot be had") from None
    except UserError as error:
        return error


@pytest.mark.parametrize(
    "words, error, kept",
    [
        (["train"], UserError("the recipe lacks epochs"), True),
        (["train"], ValueError("no number"), True),
        (["train"], made_of(OSError(errno.ENOENT, "x")), True),
        (["train"], made_of(OSError(errno.ENOSPC, "x")), False),
        (["train"], made_of(OSError(errno.EAGAIN, "x")), False),
        (["train"], made_of(MemoryError()), False),
        (["train"], made_of(RuntimeError("not enough memory")), False),
        (["train"], made_of(KeyError("x")), True),
        (["download"], UserError("no connection"), False),
    ],
)
def test_what_may_pass_by_itself_is_not_kept(tmp_path, monkeypatch, words, error, kept):
    monkeypatch.setenv(mistakes.VARIABLE, str(tmp_path / "mistakes"))
    mistakes.remember(words, "what is wrong", error)
    assert mistakes.told_before(words) == ("what is wrong" if kept else "")


def test_without_a_workflow_or_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.delenv(mistakes.VARIABLE, raising=False)
    mistakes.remember(["train"], "what is wrong", UserError("x"))
    assert mistakes.told_before(["train"]) == ""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(mistakes.VARIABLE, str(tmp_path / "file" / "mistakes"))
    mistakes.remember(["train"], "what is wrong", UserError("x"))
    assert mistakes.told_before(["train"]) == ""
