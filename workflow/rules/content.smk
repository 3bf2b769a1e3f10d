# What lies there already, compared by content with what is wanted: times say nothing once results were copied or touched,
# and what Snakemake remembers does not travel with them.
import uuid

from ternary_spike.planning import made_from

# Another text in each call, and younger than any result: an input that counts where something is to be made anew.
THIS_CALL = ".snakemake/this_call"
if workflow.is_main_process:
    with suppress(OSError):
        Path(THIS_CALL).write_text(f"{uuid.uuid4().hex}\n")


def anew_unless(current):
    """The input of a rule that is to run in this call unless its output, if there is one, is current.

    Always the same input, so that no call takes it for another one; `ancient`, its age does not count.
    """
    if not Path(THIS_CALL).exists():
        return []
    return ancient(THIS_CALL) if current or not workflow.is_main_process else THIS_CALL


def plan_is_current(wildcards):
    """Whether plan.csv says what the configuration asks for."""
    return anew_unless(made_from.plan_says(Path(f"{RESULTS}/plan.csv"), plan_of_rows()))


def settings_are_current(wildcards):
    """Whether config.json is the configuration."""
    path = Path(f"{RESULTS}/config.json")
    return anew_unless(path.exists() and path.read_text() == settings_text() + "\n")


def trace_is_current(wildcards):
    """Whether the neurons' trace is by the present code."""
    return anew_unless(made_from.still_of_code(Path(f"{RESULTS}/trace.csv")))


def amplitudes_are_current(wildcards):
    """Whether the list of live amplitudes is by the present code."""
    return anew_unless(made_from.still_of_code(Path(f"{RESULTS}/amplitudes.csv")))


def tables_are_current(wildcards):
    """Whether the tables are of the files that there are."""
    present = made_from.of_tables(Path(RESULTS), [(run.id, run.seed) for run in PLAN])
    return anew_unless(made_from.still(Path(f"{RESULTS}/tables"), present))


@cache
def report_now():
    """What a report would be made of."""
    return made_from.of_report(Path(RESULTS), Path(KEPT))


def page_is_current(wildcards):
    """Whether a notebook's page is of the tables that there are."""
    page = Path(f"{RESULTS}/notebooks/{wildcards.notebook}.html")
    return anew_unless(made_from.page_still(Path(f"{RESULTS}/report"), page, report_now()))


def report_is_current(wildcards):
    """Whether the report is of the pages and tables that there are."""
    return anew_unless(made_from.still(Path(f"{RESULTS}/report"), report_now()))
