"""The verb ``plan``."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from ternary_spike.cli import _options
from ternary_spike.system.shipped import located

HELP = "list every run: whether its data is there, and what it would cost on this machine"
LIMIT_SECONDS = 90  # a measurement that has begun is finished


def arguments(parser: ArgumentParser) -> None:
    def words(text: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())

    def several(number: Callable[[str], int]) -> Callable[[str], tuple[int, ...]]:
        return lambda text: tuple(map(number, words(text)))

    parser.add_argument("--experiments", type=located, help="the run table, CSV")
    parser.add_argument("--recipes", type=located, help="folder of the recipes")
    parser.add_argument("--method-sheets", type=located, help="folder of the method sheets that the table names")
    parser.add_argument(
        "--data", action="append", default=[], metavar="NAME=KIND[:ROOT]", help="where a dataset comes from"
    )
    parser.add_argument(
        "--data-option", action="append", default=[], metavar="NAME.KEY=VALUE", help="option of its preparation"
    )
    for name in ("tables", "datasets", "architectures", "neurons"):
        parser.add_argument(f"--{name}", type=words, default=(), metavar="A,B", help=f"only these {name}")
    parser.add_argument(
        "--methods", type=words, default=(), metavar="A,B", help="only these methods; paper for the paper's own way"
    )
    parser.add_argument(
        "--timesteps",
        type=several(_options.timesteps),
        default=(),
        metavar="T,T",
        help="only these numbers of timesteps",
    )
    parser.add_argument(
        "--seeds", type=several(_options.seed), default=(), metavar="S,S", help="seeds in place of the table's"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a value of the recipes: epochs=3"
    )
    parser.add_argument(
        "--stage-setting",
        action="append",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="of a later stage, for its check",
    )
    parser.add_argument("--controls", action="store_true", help="with the rows that the paper does not have")
    parser.add_argument("--rivals", type=located, metavar="TABLE", help="with the prior methods of a second run table")
    parser.add_argument("--offline", action="store_true", help="data that would be downloaded is missing")
    parser.add_argument("--measure", action="store_true", help="measure training steps, two minutes at most")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="where to measure")
    parser.add_argument("--cache", type=Path, help="JSON file that keeps measurements")
    parser.add_argument("--out", type=Path, help="write the plan as CSV")
    parser.add_argument("--show", type=Path, metavar="PLAN", help="only print a plan that was written before")


def run(args: Namespace) -> None:
    from ternary_spike.planning import plan_file, wanted
    from ternary_spike.system.errors import UserError

    if args.show:
        print(plan_file.described(plan_file.read_rows(args.show)))
        return
    if not args.experiments or not args.recipes:
        raise UserError("plan needs --experiments and --recipes, or --show with a plan that was written before")
    runs = _runs(args)
    rows = [run.row() | wanted.columns(run, _stage_settings(args)) for run in runs]
    if args.measure:
        for row, cost in zip(rows, _costs(args, runs), strict=True):
            row.update(cost)
    if args.out:
        plan_file.write_rows(args.out, rows)
    print(plan_file.described(rows))


def _stage_settings(args: Namespace) -> dict[str, dict[str, str]]:
    """What --stage-setting says, by stage."""
    from ternary_spike.cli._options import key_values
    from ternary_spike.planning.run_files import STAGES
    from ternary_spike.system.errors import UserError

    found: dict[str, dict[str, str]] = {}
    for key, value in key_values(args.stage_setting, "--stage-setting").items():
        stage, dot, name = key.partition(".")
        if not dot or stage not in STAGES:
            raise UserError(
                f"--stage-setting {key}={value}: write it as STAGE.KEY=VALUE; stages are {', '.join(STAGES)}"
            )
        found.setdefault(stage, {})[name] = value
    return found


def _runs(args: Namespace) -> list:
    from ternary_spike.cli._options import key_values
    from ternary_spike.configuration import run_table
    from ternary_spike.data import registry
    from ternary_spike.planning.data_source import DataSource
    from ternary_spike.planning.plan import make_plan
    from ternary_spike.planning.selection import Selection
    from ternary_spike.system.errors import UserError

    options: dict[str, dict[str, str]] = {}
    for key, value in key_values(args.data_option, "--data-option").items():
        name, dot, option = key.partition(".")
        if not dot:
            raise UserError(f"--data-option {key}={value}: write it as NAME.KEY=VALUE")
        options.setdefault(name, {})[option] = value
    sources = {}
    for name, text in key_values(args.data, "--data").items():
        kind, _, root = text.partition(":")
        sources[name] = DataSource(name, kind, root or None, options.get(name, {}), registry.is_original(name, kind))

    def unavailable(source: DataSource) -> str | None:
        return registry.availability(source.dataset, source.kind, source.root, source.options, args.offline)

    facets = (*run_table.FACETS, "controls")
    selection = Selection(**{facet: getattr(args, facet) for facet in facets})
    rows = run_table.read_experiments(args.experiments, args.method_sheets, args.rivals)
    return make_plan(rows, selection, sources, args.recipes, key_values(args.set, "--set"), unavailable)


def _costs(args: Namespace, runs: list) -> list[dict[str, str]]:
    from tempfile import TemporaryDirectory

    from ternary_spike.system import allocator, devices
    from ternary_spike.training import costs

    allocator.keep_freed_memory()  # as the trainings that are estimated do
    with TemporaryDirectory() as folder:
        cache = args.cache or Path(folder) / "costs.json"
        found = costs.estimate(runs, devices.choose(args.device), cache, LIMIT_SECONDS)
    return [
        {
            "images_per_second": f"{found[run.id].images_per_second:.3g}",
            "projected_hours": f"{found[run.id].projected_hours:.3g}",
            "disk_megabytes": f"{found[run.id].disk_megabytes:.3g}",
        }
        if run.id in found
        else {}
        for run in runs
    ]
