"""What people and a repository of data read of an archive: its title, its README, its form for Zenodo."""

import json
from collections import Counter

from ternary_spike.archiving.preset import Preset

KINDS = {
    "none": "no weights are in it",
    "trained": "the trained weights are in it (weights.safetensors of each run)",
    "all": "the trained weights are in it, and the folded networks and ONNX files made of them",
}


def title(preset: Preset) -> str:
    """One line that names the archive."""
    return f"Ternary Spike reproduced: results of the preset {preset.name}"


def weights(preset: Preset, chosen: str, size: int) -> str:
    """Which weights are in it and how large they are, in a sentence without its full stop."""
    said = KINDS[chosen] if preset.weights or chosen == "none" else "no weights are in it, since none lay there"
    if preset.weights:
        said += f": {len(preset.weights)} files, {megabytes(size)}"
    return f"{said}; {len(preset.left_out)} files of networks were left out" if preset.left_out else said


def megabytes(size: int) -> str:
    """A size in words."""
    return f"{size / 1e6:.1f} MB"


def origins(preset: Preset) -> list[str]:
    """What the records say of commits, in sentences: how many runs came from each, and where it is not known."""
    counted = Counter((run.origin.get("commit"), bool(run.origin.get("dirty"))) for run in preset.runs)
    lines = []
    for (commit, dirty), count in sorted(counted.items(), key=str):
        where = f"commit {commit}" if commit else "a commit that was not recorded"
        note = ", with files that differed from it and are not known" if dirty else ""
        lines.append(f"{count} runs were trained by the code of {where}{note}")
    return lines


def readme(preset: Preset, commit: str, said_of_weights: str) -> str:
    """README.md of the archive, Markdown."""
    code, results = f"code/{commit}", f"results/{preset.name}"
    settings = f"{results}/config.json"
    again = (
        f"`make setup` in `{code}`, then `snakemake --cores all --configfile ../../{settings}`. Files that the "
        "configuration names and that are not part of the code are in `configuration/`.\n"
        if any(path.name == "config.json" for path in preset.files)
        else f"`make setup` in `{code}`. Each `run.json` has the command that trained its run, each row of "
        f"`{results}/plan.csv` its settings; the preset's own settings are a file of `{code}/config`.\n"
    )
    lines = "\n".join(f"* {line}" for line in origins(preset))
    return f"""# {title(preset)}

Trained spiking networks of the reproduction of *Ternary Spike* (Guo et al., AAAI 2024): {len(preset.runs)} runs with
all that was measured of them, the tables, figures and report made of that, and the code.

## Is it whole?

```
python FILE.zip                       # any Python from 3.11 on, nothing to install
sha256sum --check --quiet SHA256SUMS  # or, where it is unpacked
```

## What is in it

| | |
| --- | --- |
| `{results}/tables` | the numbers; `runs.csv` has a row a run and seed |
| `{results}/figures`, `notebooks`, `report` | what was drawn and written of them, as far as it was made |
| `{results}/runs/<id>/seed<seed>` | what each stage left of a run; `run.json` says what made it of which data |
| `code/<commit>` | the code; `{commit[:12]}` made the archive, others trained runs of it |
| `environment.json` | versions and machines of the runs; `{code}/requirements.txt` pins every package |
| `ro-crate-metadata.json` | all of this for machines; `isBasedOn` of a table or figure names the runs it came from |

Weights: {said_of_weights}. Pictures of the datasets are not in it; `run.json` has the checksum of those that were used.

{lines}

## Making it again

{again}
## Citing

`CITATION.cff`; MIT licence (`LICENSE`).
"""


def zenodo(preset: Preset, citation: dict, description: str) -> str:
    """The metadata of a deposit as Zenodo's interface takes them, JSON."""
    content = {
        "metadata": {
            "title": title(preset),
            "upload_type": "dataset",
            "description": f"<p>{description}</p>",
            "creators": [{"name": author["name"]} for author in citation["authors"]],
            "license": "mit",
            "keywords": ["spiking neural networks", "ternary spikes", "reproduction"],
        }
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
