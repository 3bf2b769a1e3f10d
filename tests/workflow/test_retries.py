"""Snakemake's retries repeat a crash, but not the work that ended with a user's mistake."""

import pickle

import pytest

from tests.helpers.datasets import write_cifar, write_md5sums
from tests.workflow.running import HEAD, copied, smoke

MANIFEST, LOG = "results/smoke/data/cifar10.subset/manifest.json", "results/smoke/logs/prepare/cifar10.subset.log"
# each attempt says what it has imported when it ends
WATCHED = """import atexit, sys
if "prepare" in sys.orig_argv:
    atexit.register(lambda: open("attempts", "a").write(f"{'ternary_spike.data.cifar' in sys.modules}\\n"))
"""


@pytest.mark.full
def test_a_mistake_is_found_once_in_a_call_and_said_by_each_attempt(tmp_path):
    folder = copied(tmp_path / "repository")
    write_cifar(folder / "cifar", "cifar10", 20, 10)
    batch = folder / "cifar/cifar-10-batches-py/data_batch_1"
    whole = batch.read_bytes()
    batch.write_bytes(pickle.dumps(pickle.loads(whole) | {"labels": [-1] * 4}, protocol=2))
    write_md5sums(batch.parent)
    (folder / "table.csv").write_text(HEAD + "cifar10,resnet20w2,1,ternary,,,cifar10,0,,false\n")
    settings = (folder / "smoke.yaml").read_text()
    (folder / "smoke.yaml").write_text(
        settings.replace("digits: {source: scikit-learn}", "cifar10: {source: subset, root: cifar}")
    )
    (folder / "startup").mkdir()
    (folder / "startup/sitecustomize.py").write_text(WATCHED)
    call = lambda: smoke(folder, "--retries", "2", "--", MANIFEST, PYTHONPATH=str(folder / "startup"))  # noqa: E731
    outcome = call()
    assert outcome.status == 1, outcome.text
    assert (folder / "attempts").read_text().split() == ["True", "False", "False"]
    assert "labels from 0 to 9" in (folder / LOG).read_text()
    assert outcome.text.count("prepare failed: ") == 1
    # mended, the next call does it
    batch.write_bytes(whole)
    write_md5sums(batch.parent)
    assert call().status == 0
    assert (folder / "attempts").read_text().split()[3:] == ["True"]
