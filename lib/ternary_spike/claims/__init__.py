"""The claims ledger: each checkable claim of the paper, and the verdict that the result files give by a stated rule.

The claims themselves are data, ``claims.yaml`` with ``schema.json``; a claim names the check of :mod:`.checks`,
:mod:`.mechanism`, :mod:`.printed` or :mod:`.quotations` that judges it. No verdict is written by hand.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter

import pandas as pd
import yaml

from ternary_spike import paper
from ternary_spike.claims import checks, mechanism, printed, quotations  # noqa: F401  their checks become known
from ternary_spike.claims.findings import CHECKS
from ternary_spike.system.errors import UserError
from ternary_spike.tables.columns import COLUMNS
from ternary_spike.tables.verdicts import FULL, NOT_TESTED, SCALE

LEDGER = Path(__file__).with_name("claims.yaml")
SCHEMA = Path(__file__).with_name("schema.json")
MINUS = re.compile(r"(?<![\w.-])-(?=\d)")  # a hyphen that stands for a sign

__all__ = ["FULL", "NOT_TESTED", "SCALE", "Claim", "judge", "load"]


@dataclass(frozen=True)
class Claim:
    """One row of the ledger.

    Attributes:
        id: unique name, also the row's anchor in the report.
        group: which part of the ledger it belongs to.
        statement: what is claimed, in one sentence.
        where: where the paper says it.
        check: name of the function in :mod:`.checks` or :mod:`.printed` that judges it.
        settings: arguments of the check.
        notebook: page and anchor of the evidence, ``slug#heading``.
        headline: whether the front page lists it.
    """

    id: str
    group: str
    statement: str
    where: str
    check: str
    notebook: str
    settings: dict = field(default_factory=dict)
    headline: bool = False


def _expanded(entry: dict) -> list[dict]:
    """An entry with ``each`` stands for one claim for every own row of a table, or for every pair of neurons in it."""
    each = entry.pop("each", None)
    if each is None:
        return [entry]
    found = []
    for row in paper.accuracies():
        if row.table != each["table"] or not row.own or (each["kind"] == "gains" and row.neuron != each["better"]):
            continue
        place = {
            "table": row.table,
            "dataset": paper.DATASET_OF_NAME[row.dataset],
            "architecture": row.architecture.lower(),
            "timesteps": row.timesteps,
        }
        if each["kind"] == "gains":
            base = paper.own(**place, neuron=each["base"])
            settings = {**place, "better": each["better"], "base": each["base"]}
            figure = f"{row.accuracy_percent - base.accuracy_percent:+.2f} points"
            tail = f"{each['better']}-over-{each['base']}"
        else:
            settings = {**place, "neuron": row.neuron}
            figure = f"{row.accuracy_percent:.2f}" + (f" ± {row.std_percent:.2f}" if row.std_percent else "") + " %"
            tail = row.neuron
        words = {"method": row.method, "dataset": row.dataset, "architecture": row.architecture}
        statement = Formatter().vformat(entry["statement"], (), {**words, "timesteps": row.timesteps, "figure": figure})
        name = f"{entry['id']}-{place['dataset']}-{place['architecture']}-T{row.timesteps}-{tail}"
        found.append({**entry, "id": name, "statement": statement, "settings": settings})
    return found


def load(path: Path = LEDGER) -> list[Claim]:
    """The ledger, validated by its schema.

    Raises:
        UserError: if the file is not YAML, does not fit the schema, names an unknown check or has an id twice.
    """
    import jsonschema

    try:
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        jsonschema.validate(entries, json.loads(SCHEMA.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    except jsonschema.ValidationError as error:
        raise UserError(f"{path}: {error.json_path}: {error.message}") from None
    claims = [Claim(**entry) for given in entries for entry in _expanded(given)]
    seen = set()
    for claim in claims:
        if claim.check not in CHECKS:
            raise UserError(f"{path}: claim {claim.id} names the unknown check {claim.check!r}: {', '.join(CHECKS)}")
        if claim.id in seen:
            raise UserError(f"{path}: the claim {claim.id} stands there twice")
        seen.add(claim.id)
    return claims


def judge(tables: dict[str, pd.DataFrame], claims: list[Claim] | None = None) -> pd.DataFrame:
    """The ledger with kind of evidence, result and verdict of each claim, computed from the tables.

    Args:
        tables: as :func:`ternary_spike.tables.collect.tables` returns them.
        claims: the ledger; by default the one that comes with the package.
    """
    rows = []
    for claim in load() if claims is None else claims:
        finding = CHECKS[claim.check](tables, **claim.settings)
        rows.append(
            {
                "id": claim.id,
                "group": claim.group,
                "statement": MINUS.sub("−", claim.statement),
                "where": claim.where,
                "evidence": finding.evidence,
                "result": MINUS.sub("−", finding.result),
                "verdict": finding.verdict,
                "reduced": finding.reduced,
                "runs": " ".join(finding.runs),
                "notebook": claim.notebook,
                "headline": claim.headline,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS["claims"]))
