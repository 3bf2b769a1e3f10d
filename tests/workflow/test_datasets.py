"""Every dataset, architecture and neuron of the paper through the workflow, on small sets in the real formats."""

import csv

import pytest

from tests.helpers.datasets import write_cifar, write_dvs, write_imagefolder
from tests.workflow.running import HEAD, copied, snakemake

# dataset, network (narrow), T and neuron of runs: any two of them are together in a row, all three need not be
RUNS = """cifar10,resnet20w2,2,binary
cifar10,resnet20w2,2,ternary
cifar10,resnet19w2,2,trainable
cifar100,resnet20w2,2,trainable
cifar100,resnet19w2,2,binary
cifar100,resnet19w2,2,ternary
cifar10dvs,resnet20w2,10,ternary
cifar10dvs,resnet20w2,10,trainable
cifar10dvs,resnet19w16,10,binary
imagenet,resnet18w2,2,binary
imagenet,resnet18w2,2,ternary
imagenet,resnet18w2,2,trainable
imagenet,resnet34w2,2,binary
imagenet,resnet34w2,2,ternary
imagenet,resnet34w2,2,trainable
""".splitlines()
# ResNet19 of width 16: above 32 pixels torch 2.13's oneDNN corrupts memory, on some processors with AVX-512, in the
# gradient of a strided 1x1 convolution to fewer than 32 channels.
CONFIG = """preset: formats
experiments: table.csv
data:
  cifar10: {{source: subset, root: {root}/cifar}}
  cifar100: {{source: subset, root: {root}/cifar}}
  cifar10dvs: {{source: subset, root: {root}/dvs}}
  imagenet: {{source: subset, root: {root}/imagenet, options: {{image_size: 32}}}}
epochs: 1
recipe_changes: {{batch_size: 20}}
verify_samples: 4
execute_samples: 1
measure_costs: false
"""


@pytest.mark.full
def test_every_dataset_network_and_neuron_trains_to_the_report(tmp_path):
    write_cifar(tmp_path / "cifar", "cifar10", 60, 20)
    write_cifar(tmp_path / "cifar", "cifar100", 100, 100)
    write_dvs(tmp_path / "dvs", recordings=4)
    write_imagefolder(tmp_path / "imagenet", ["n01440764", "n01443537", "n15075141"], train=14, val=4)
    folder = copied(tmp_path / "copy")
    rows = [f"{run},,,{run.partition(',')[0]},0,,false\n" for run in RUNS]
    (folder / "table.csv").write_text(HEAD + "".join(rows))
    (folder / "formats.yaml").write_text(CONFIG.format(root=tmp_path))
    outcome = snakemake(folder, "--cores", "2", "--configfile", "formats.yaml", timeout=2400)
    assert outcome.status == 0, outcome.text[-3000:]
    with (folder / "results/formats/tables/runs.csv").open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(RUNS)
    assert {row["state"] for row in found} == {"done"}
    assert all("subset" in row["data_label"] and row["reduced"] for row in found)
    with (folder / "results/formats/tables/equivalence.csv").open() as file:
        assert all(row["passed"] == "True" for row in csv.DictReader(file))
    assert (folder / "results/formats/report/index.html").exists()
