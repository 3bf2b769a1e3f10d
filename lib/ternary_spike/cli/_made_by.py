"""What a stage's result says of its making."""

from collections.abc import Mapping
from typing import Any

import torch

from ternary_spike.planning.run_code import run_code_hash
from ternary_spike.system.provenance import provenance


def made_by(stage: str, record: Mapping[str, Any], device: torch.device, started: str) -> dict[str, Any]:
    """The provenance of a stage's result: where and when it was made, and by which code.

    Args:
        stage: its verb.
        record: run.json of the run that it was made from.
        device: where it was computed.
        started: when.
    """
    return {**provenance(device, started), "code_hash": run_code_hash(stage, record)}
