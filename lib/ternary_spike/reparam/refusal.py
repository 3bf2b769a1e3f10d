"""The files of a network that cannot be folded: they say why, where those of others hold the folded network."""

from pathlib import Path

from ternary_spike.reparam.network import FORMAT, NOT_FOLDABLE, STRUCTURE_FILE, WEIGHTS_FILE
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json, replaced_together, write_json, write_tensors


def save_refusal(folder: Path, reason: str, trained_weights: str, provenance: dict | None = None) -> None:
    """Write ``folded.json`` with the reason, and a ``folded.safetensors`` without any tensor.

    Args:
        folder: where a folded network would lie.
        reason: what :func:`ternary_spike.reparam.folding.fold` said.
        trained_weights: SHA-256 of the weights file that was not folded.
        provenance: what tried to fold it.

    Raises:
        UserError: if they cannot be written.
    """
    with replaced_together(folder, STRUCTURE_FILE) as temporary:
        write_tensors(temporary / WEIGHTS_FILE, {})
        content = {"format": FORMAT, "trained_weights": trained_weights, NOT_FOLDABLE: reason}
        content["provenance"] = provenance or {}
        write_json(temporary / STRUCTURE_FILE, content)


def refusal_of(folder: Path, trained_weights: str) -> str | None:
    """Why a network was not folded, from the files in a folder; None if they hold a folded network.

    Raises:
        UserError: if they cannot be read, or speak of other weights.
    """
    path = Path(folder) / STRUCTURE_FILE
    found = read_json(path)
    if not isinstance(found, dict) or NOT_FOLDABLE not in found:
        return None
    if found.get("trained_weights") != trained_weights or not isinstance(found[NOT_FOLDABLE], str):
        raise UserError(f"{path} speaks of another training; fold this one again")
    return found[NOT_FOLDABLE]
