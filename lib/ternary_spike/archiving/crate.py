"""The archive's metadata as an RO-Crate: what is in it, which program made it, and which runs each table came from.

The profiles are Workflow RO-Crate 1.0 and Workflow Run Crate 0.5, which stand on RO-Crate 1.1. Nothing in it depends on
when it is written, so that the same results give the same bytes.
"""

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from rocrate.model import ContextEntity, Dataset, File
from rocrate.rocrate import ROCrate

from ternary_spike.archiving.preset import Preset, Run

VERSION = "1.1"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
LICENCE, PAPER = "https://spdx.org/licenses/MIT", "#paper"
WORKFLOW_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
PLAIN = "text/plain"
KINDS = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".html": "text/html",
    ".md": "text/markdown",
    ".ipynb": "application/x-ipynb+json",
    ".cff": "application/yaml",
    ".py": "text/x-python",
}
#: folders of a preset whose files the metadata name one by one; the others are named as a whole
ONE_BY_ONE = ("tables", "figures", "notebooks")


@dataclass(frozen=True)
class Described:
    """What the metadata need besides the preset.

    Attributes:
        sizes: of every packed file in bytes, by its name in the archive.
        origins: folders below ``results/`` of the runs that a table or figure came from, by its name.
        drawn_before: figures that do not name their runs themselves.
        commit: of the code whose workflow is the archive's.
        commits: all whose code is in it, by the folder.
        date: of the newest of what is in it, ISO 8601.
        title: of the archive.
        description: of the archive.
        citation: the content of CITATION.cff.
        snakemake: the version of Snakemake that the code asks for.
    """

    sizes: dict[str, int]
    origins: dict[str, list[str]]
    drawn_before: frozenset[str]
    commit: str
    commits: dict[str, str]
    date: str
    title: str
    description: str
    citation: dict
    snakemake: str


def metadata(preset: Preset, known: Described) -> bytes:
    """The content of ro-crate-metadata.json."""
    crate = ROCrate(version=VERSION)
    results = f"results/{preset.name}"
    _root(crate, known)
    _code(crate, known)
    for name in ("README.md", "LICENSE", "CITATION.cff", "SHA256SUMS", "zenodo.json", "environment.json"):
        _file(crate, name, known, **({"about": {"@id": "./"}} if name == "README.md" else {}))
    _file(crate, "__main__.py", known, description="verifies the archive: python FILE.zip")
    for run in preset.runs:
        _run(crate, results, run, known)
    _whole_folders(crate, results, known)
    made = []
    for name in sorted(known.sizes):
        parts = PurePosixPath(name).relative_to(results).parts if name.startswith(f"{results}/") else ()
        if len(parts) == 1 or (parts and parts[0] in ONE_BY_ONE):
            made.append(_file(crate, name, known, **_came_from(name, known)))
        elif name.startswith("configuration/"):
            _file(crate, name, known)
    _workflow_run(crate, preset, made, known)
    text = json.dumps(crate.metadata.generate(), indent=1, sort_keys=True, ensure_ascii=False)
    return f"{text}\n".encode()


def _root(crate: ROCrate, known: Described) -> None:
    root = crate.root_dataset
    root["name"], root["description"], root["datePublished"] = known.title, known.description, known.date
    root["license"] = _context(crate, LICENCE, "CreativeWork", name="MIT License")
    authors = [
        _context(crate, f"#author-{number}", "Organization", name=author["name"])
        for number, author in enumerate(known.citation["authors"], 1)
    ]
    root["author"] = _one_or_several(authors)
    paper = known.citation["preferred-citation"]
    authors = ", ".join(f"{one['given-names']} {one['family-names']}" for one in paper["authors"])
    text = f"{authors}: {paper['title']}. {paper['collection-title']}, {paper['year']}"
    root["citation"] = _context(crate, PAPER, "ScholarlyArticle", name=paper["title"], creditText=text)
    root["conformsTo"] = [
        _context(crate, profile, "CreativeWork", name=name, version=version)
        for profile, (name, version) in PROFILES.items()
    ]
    root["keywords"] = "spiking neural networks, ternary spikes, reproduction"


def _code(crate: ROCrate, known: Described) -> None:
    for folder, commit in known.commits.items():
        properties = {"@type": ["Dataset", "SoftwareSourceCode"], "name": f"The code at commit {commit}"}
        crate.add(Dataset(crate, dest_path=f"{folder}/", properties={**properties, "version": commit}))
    path = f"code/{known.commit}/workflow/Snakefile"
    properties = {
        "name": "The workflow that made the results",
        "version": known.commit,
        "license": {"@id": LICENCE},
        "softwareRequirements": {"@id": f"code/{known.commit}/requirements.txt"},
        "contentSize": str(known.sizes[path]),
        "encodingFormat": PLAIN,
        "conformsTo": _context(crate, WORKFLOW_PROFILE, "CreativeWork", name="Bioschemas ComputationalWorkflow"),
    }
    crate.add_workflow(dest_path=path, main=True, lang="snakemake", lang_version=known.snakemake, properties=properties)
    _file(crate, f"code/{known.commit}/requirements.txt", known, description="every package, pinned by its hash")


def _run(crate: ROCrate, results: str, run: Run, known: Described) -> None:
    """A run's folder, and the training that made it."""
    name, origin, data = f"{results}/runs/{run.id}/seed{run.seed}/", run.origin, run.record.get("data") or {}
    crate.add(Dataset(crate, dest_path=name, properties={"name": f"Run {run.id}, seed {run.seed}"}))
    commit = origin.get("commit")
    folder = f"code/{commit}"
    instrument = folder + "/" if folder in known.commits else f"code/{known.commit}/"
    how = " ".join(origin.get("command") or ["by an unknown command"])
    if commit is None:
        how += f" (commit unknown: {origin.get('commit_unknown', 'not recorded')})"
    if origin.get("dirty"):
        how += " (files differed from the commit; what they were is not known)"
    checksum = data.get("checksum", "unknown")
    source = _context(
        crate, f"#data-{checksum}", "PropertyValue", name=data.get("label", run.record.get("dataset")), value=checksum
    )
    _action(
        crate,
        f"#training-{run.id}-seed{run.seed}",
        name=f"Training of {run.id} with seed {run.seed}",
        description=how,
        instrument={"@id": instrument},
        object=[source],
        result=[{"@id": name}],
        **_times(origin),
    )


def _times(origin: dict) -> dict[str, str]:
    found = {"startTime": origin.get("started"), "endTime": origin.get("finished")}
    return {key: value for key, value in found.items() if value}


def _whole_folders(crate: ROCrate, results: str, known: Described) -> None:
    """The report and, where there are any, the runs of kept results that figures show."""
    if f"{results}/report/index.html" in known.sizes:
        crate.add(Dataset(crate, dest_path=f"{results}/report/", properties={"name": "The report: open index.html"}))
    for place in sorted({place for places in known.origins.values() for place in places}):
        if f"results/{place}/" not in {entity.id for entity in crate.data_entities}:
            folder = f"code/{known.commit}/results/{place}/"
            crate.add(Dataset(crate, dest_path=folder, properties={"name": f"Kept result {place}"}))


def _came_from(name: str, known: Described) -> dict[str, Any]:
    """The runs that a file came from, as properties of its entity."""
    if name not in known.origins:
        return {}
    places = [
        f"results/{place}/" if f"results/{place}/run.json" in known.sizes else f"code/{known.commit}/results/{place}/"
        for place in known.origins[name]
    ]
    found: dict[str, Any] = {"isBasedOn": _one_or_several([{"@id": place} for place in places])} if places else {}
    if name in known.drawn_before:
        found["description"] = "drawn by a version that did not note the runs in the picture: all of the preset"
    return found


def _workflow_run(crate: ROCrate, preset: Preset, made: list[File], known: Described) -> None:
    """The one action that the profile asks for: the workflow made the tables, figures and notebooks of these runs."""
    ends = sorted(run.origin["finished"] for run in preset.runs if run.origin.get("finished"))
    _action(
        crate,
        "#workflow-run",
        name=f"The workflow with the preset {preset.name}",
        description="tables, figures and report of all runs",
        instrument=crate.mainEntity,
        object=[{"@id": f"results/{preset.name}/runs/{run.id}/seed{run.seed}/"} for run in preset.runs],
        result=made,
        endTime=ends[-1] if ends else known.date,
    )


def _action(crate: ROCrate, identifier: str, **properties: Any) -> None:
    made = {key: value for key, value in properties.items() if key not in ("instrument", "object", "result")}
    action = crate.add(ContextEntity(crate, identifier, properties={"@type": "CreateAction", **made}))
    for key in ("instrument", "object", "result"):
        if properties[key]:
            action[key] = _one_or_several(properties[key])
    crate.root_dataset.append_to("mentions", action)


def _file(crate: ROCrate, name: str, known: Described, **properties: Any) -> File:
    about = {"name": PurePosixPath(name).name, **properties}
    about["encodingFormat"] = KINDS.get(PurePosixPath(name).suffix, PLAIN)
    if name in known.sizes:
        about["contentSize"] = str(known.sizes[name])
    return crate.add(File(crate, dest_path=name, properties=about))


def _one_or_several(values: Any) -> Any:
    """A list of one as its only item, which is how the specification has it."""
    return values[0] if isinstance(values, list) and len(values) == 1 else values


def _context(crate: ROCrate, identifier: str, kind: str, **properties: Any) -> ContextEntity:
    return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))
