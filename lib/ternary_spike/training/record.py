"""A finished training run on disk: its record and its weights."""

from pathlib import Path

from ternary_spike.models.base import SpikingNetwork
from ternary_spike.models.registry import make_network
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json, read_tensors

RECORD = "run.json"
WEIGHTS = "weights.safetensors"
HISTORY = "history.csv"


def read_record(folder: Path) -> dict:
    """run.json of a run. Raises UserError if it is missing or not one."""
    path = Path(folder) / RECORD
    record = read_json(path)
    if not _holds(record, {"id": str, "model": dict, "recipe": dict, "data": dict, "files": dict}) or not (
        _holds(record["data"], {"label": str, "checksum": str}) and _holds(record["files"], {WEIGHTS: str})
    ):
        raise UserError(f"{path} is not the record of a training run; run `train` again")
    return record


def _holds(content: object, kinds: dict[str, type]) -> bool:
    """Whether something is a mapping that has these keys with values of these kinds."""
    return isinstance(content, dict) and all(isinstance(content.get(key), kind) for key, kind in kinds.items())


def load_model(folder: Path) -> tuple[dict, SpikingNetwork]:
    """The record and the trained network, in evaluation mode on the CPU; the weights' checksum is verified.

    Raises:
        UserError: if a file is missing, corrupt, or does not belong to the record, or a weight is not finite.
    """
    record = read_record(folder)
    sizes = {key: record["model"].get(key) for key in ("timesteps", "num_classes", "in_channels", "image_size")}
    if any(type(size) is not int for size in sizes.values()) or sizes["timesteps"] != record.get("timesteps"):
        raise UserError(f"{Path(folder) / RECORD} contradicts itself (model is {record['model']}); train again")
    path = Path(folder) / WEIGHTS
    tensors, _ = read_tensors(path, record["files"][WEIGHTS])
    try:
        model = make_network(**record["model"])
        model.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, OverflowError, MemoryError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} does not fit the network that {RECORD} describes ({reason}); train again") from None
    if not all(bool(t.isfinite().all()) for t in tensors.values() if t.is_floating_point()):
        raise UserError(f"{path} holds weights that are not finite; train again with a lower learning_rate")
    return record, model.eval()


def require_same_data(record: dict, checksum: str, folder: Path) -> None:
    """Raise UserError if prepared data is not what the run was trained on."""
    if record["data"]["checksum"] != checksum:
        raise UserError(
            f"{folder} holds other data than run {record['id']} was trained on (checksum {checksum[:12]}…, "
            f"run: {record['data']['checksum'][:12]}…); prepare the run's data or train again"
        )
