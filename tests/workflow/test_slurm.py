"""The tiny preset through a real SLURM of one node, with the profile that users get."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.workflow.running import FAILING_ROW, HEAD, SMOKE_ROWS, SMOKE_RUNS, copied, snakemake

pytestmark = pytest.mark.slurm
NODE = Path(__file__).parents[1] / "helpers/slurm_node.sh"
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "srun")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A SLURM of one node in SLURM_CONF."""
    search = os.environ["PATH"] + ":/usr/sbin"
    if lacking := [name for name in NEEDED if shutil.which(name, path=search) is None]:
        pytest.skip(f"no SLURM can be started here: {', '.join(lacking)} missing")
    if os.geteuid() != 0:
        pytest.skip("no SLURM can be started here: it takes root")
    folder = tmp_path_factory.mktemp("slurm")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # munge's user must be able to pass
    environment = os.environ | {"PATH": search}
    subprocess.run([NODE, "up", folder], check=True, env=environment)
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    yield folder
    subprocess.run([NODE, "down", folder], check=False, env=environment)
    if before is None:
        del os.environ["SLURM_CONF"]
    else:
        os.environ["SLURM_CONF"] = before


def submit(folder: Path, *arguments: str):
    profile = ("--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "5")
    # the node may be a small one
    return snakemake(folder, *profile, "--cores", "2", "--configfile", "smoke.yaml", *arguments, timeout=1200)


def test_the_tiny_preset_through_the_queue_with_a_failing_run(slurm, tmp_path):
    folder = copied(tmp_path / "repository")
    (folder / "table.csv").write_text(HEAD + SMOKE_ROWS)
    done = submit(folder)
    assert done.status == 0, done.text
    assert "SLURM jobid" in done.text and (folder / "results/smoke/report/index.html").exists()
    for run in SMOKE_RUNS:
        assert (folder / "results/smoke/runs" / run / "seed0/energy.json").exists()

    (folder / "table.csv").write_text(HEAD + SMOKE_ROWS + FAILING_ROW)
    failed = submit(folder, "--retries", "0")
    log = "results/smoke/logs/train/digits-resnet6w4-T1-ternary-failing-e1-train_samples_200/seed0.log"
    assert failed.status == 1 and log in failed.text
    assert "the loss is" in (folder / "results/smoke/tables/runs.csv").read_text()
