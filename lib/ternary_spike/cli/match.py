"""The verb ``match``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ternary_spike.cli import _training
from ternary_spike.cli._options import real, whole

HELP = "find by bisection the threshold at which a network fires as often as another one; each probe is a training"


def arguments(parser: ArgumentParser) -> None:
    from ternary_spike.planning.matching import PROBES, TOLERANCE

    _training.add_arguments(parser)
    parser.add_argument(
        "--target", type=Path, nargs="+", required=True, help="evaluation.json of each seed of the run to be matched"
    )
    parser.add_argument(
        "--tolerance", type=real(0.0, 1.0), default=TOLERANCE, help="rates this close are equal, as shares; %(default)s"
    )
    parser.add_argument("--probes", type=whole(1, 1000), default=PROBES, help="thresholds to try at most; %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="match.json to write")


def run(args: Namespace) -> None:
    import sys
    import time

    from ternary_spike.data.prepared import read_manifest
    from ternary_spike.planning import matching
    from ternary_spike.system import devices
    from ternary_spike.system.errors import UserError
    from ternary_spike.system.files import write_json
    from ternary_spike.system.provenance import now, provenance
    from ternary_spike.training.loop import Interrupted

    started, clock = now(), time.monotonic()
    target, rates = _target(args.target)
    wanted = sum(rates) / len(rates)
    plan = _training.training_plan(args, threshold_found=True)
    if "threshold" in plan.model["neuron_options"]:
        raise UserError("--neuron-option threshold: it is what `match` looks for; leave it out")
    device = devices.choose(args.device)
    print(f"{plan.run}: looking for a firing rate of {100 * wanted:.2f} %, that of {target}")

    def probe(threshold: float) -> matching.Probe:
        window = plan.model["neuron_options"].get("window", matching.window_of(threshold))
        rate = _rate(args, plan, {"threshold": threshold, "window": window}, device)
        print(f"{plan.run}: threshold {threshold:g}, window {window:g}: {100 * rate:.2f} % fire", flush=True)
        return matching.Probe(threshold, window, rate)

    try:
        probes = matching.bisect(probe, wanted, args.tolerance, args.probes)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(130)
    manifest = read_manifest(args.data)
    found = matching.outcome(probes, wanted, args.tolerance)
    content = {"id": plan.run, "seed": plan.seed, "target": {"id": target, "rate": wanted, "rates": rates}, **found}
    content |= {"data": {"label": manifest.label, "checksum": manifest.checksum}}
    content |= {"wall_seconds": round(time.monotonic() - clock, 3), "provenance": provenance(device, started)}
    write_json(args.out, content)
    if not found["within_tolerance"]:
        print(f"{plan.run}: no threshold came within {100 * args.tolerance:g} points; the closest is taken")


def _target(paths: list[Path]) -> tuple[str, list[float]]:
    """The id of the run to be matched and its firing rate in each seed."""
    from ternary_spike.planning import matching
    from ternary_spike.system.errors import UserError
    from ternary_spike.system.files import read_json

    ids, rates = set(), []
    for path in paths:
        evaluation = read_json(path)
        try:
            ids.add(evaluation["id"])
            rates.append(matching.firing_rate(evaluation))
        except (KeyError, TypeError, ValueError) as error:
            what = str(error) if isinstance(error, ValueError) else "it is not the evaluation of a run"
            raise UserError(f"{path}: {what}; name the evaluation.json of a spiking network") from None
    if len(ids) > 1:
        raise UserError(f"--target names evaluations of different runs: {', '.join(sorted(ids))}; name one run's seeds")
    return ids.pop(), rates


def _rate(args: Namespace, plan, options: dict[str, float], device) -> float:
    """Train with a threshold, or take up such a training that an earlier call finished, and measure its firing rate."""
    from dataclasses import replace

    from ternary_spike.cli._stages import open_run
    from ternary_spike.measuring.evaluation import evaluate
    from ternary_spike.planning import matching
    from ternary_spike.training.loop import train

    model = {**plan.model, "neuron_options": {**plan.model["neuron_options"], **options}}
    plan = replace(plan, model=model)
    folder = args.checkpoints / f"threshold{options['threshold']:g}"
    if not _finished(plan, folder):
        train(plan, args.checkpoints, folder, device, report=lambda line: None)
    trained = Namespace(run=folder, data=args.data, device=args.device, threads=args.threads)
    _, network, batches, device = open_run(trained)
    return matching.firing_rate(evaluate(network.to(device), batches))


def _finished(plan, folder: Path) -> bool:
    """Whether a folder holds the finished training of this very plan, by the code that runs."""
    from ternary_spike.configuration.recipe import deciding
    from ternary_spike.data.prepared import read_manifest
    from ternary_spike.planning.run_code import run_code_hash
    from ternary_spike.system.errors import UserError
    from ternary_spike.training.record import read_record

    try:
        record = read_record(folder)
    except UserError:
        return False
    wanted = plan.decisive()
    found = {key: record.get(key) for key in wanted}
    for values in (wanted, found):
        values["recipe"] = deciding(values["recipe"])
    return (
        found == wanted
        and record["data"]["checksum"] == read_manifest(plan.data).checksum
        and record["provenance"]["code_hash"] == run_code_hash("train", wanted)
    )
