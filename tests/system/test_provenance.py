"""The commit in a record: that of the code, or why there is none."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import ternary_spike
from ternary_spike.system import provenance


@pytest.fixture
def copy(tmp_path) -> Path:
    """A folder with the module's file, as an archive leaves it."""
    shutil.copy(provenance.__file__, tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=b", *arguments], check=True)


def unknown(folder: Path) -> str:
    found = provenance.commit(folder)
    assert found["commit"] is None and found["dirty"] is None
    assert found["version"] == ternary_spike.__version__  # which an installed package has to say in its stead
    (warning,) = provenance.commit_warnings(found)
    assert found["commit_unknown"] in warning and "commit unknown" in warning
    return found["commit_unknown"]


def test_an_archive_has_no_commit_and_says_why(copy):
    assert "not a git repository" in unknown(copy)


def test_without_git_it_is_said(copy, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert unknown(copy) == "git is not installed"


def test_a_checkout_has_its_commit(copy):
    git(copy, "init", "-q")
    git(copy, "commit", "-q", "--allow-empty", "-m", "a")
    assert "belongs to no checkout" in unknown(copy)  # lies in a checkout, and is none of its files
    git(copy, "add", "provenance.py")
    git(copy, "commit", "-q", "-m", "b")
    found = provenance.commit(copy)
    assert found["version"] == ternary_spike.__version__
    assert len(found["commit"]) == 40 and found["dirty"] is False and provenance.commit_warnings(found) == []
    (copy / "results").mkdir()
    (copy / "results/table.csv").write_text("kept")
    git(copy, "add", "results")
    git(copy, "commit", "-q", "-m", "c")
    (copy / "results/table.csv").write_text("written anew by the workflow")
    kept = provenance.commit(copy)
    assert kept == found | {"commit": kept["commit"]} and kept["commit"] != found["commit"]
    (copy / "provenance.py").write_text("")
    assert provenance.commit(copy) == kept | {"dirty": True}


def test_what_took_long_names_the_code_that_it_began_with():
    began = {"version": "1", "commit": "abc", "dirty": False}
    found = provenance.provenance(torch.device("cpu"), "then", began)
    assert {key: found[key] for key in began} == began and found["started"] == "then"
    assert provenance.provenance(torch.device("cpu"), "then")["commit"] == provenance.commit()["commit"]


def test_another_user_s_checkout_says_so(copy, monkeypatch):
    git(copy, "init", "-q")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own, for its tests
    assert "dubious ownership" in unknown(copy)
