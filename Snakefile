# The reproduction of "Ternary Spike" (Guo et al., AAAI 2024). Without arguments the configuration is the paper:
#   snakemake --cores all                                     what can run here, runs
#   snakemake --cores all --configfile config/demo.yaml       the demo, minutes on two cores
#   snakemake --cores 1 plan                                  what would run, and what it would cost
from snakemake.utils import min_version

min_version("9.19")


include: "workflow/rules/start.smk"


configfile: DEFAULTS


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"


# replaces the default prefix, hence the shell options; PYTHONPATH passed in from outside would not reach a conda job
shell.prefix(SHELL_PREFIX)
limit_to_machine()
announce_plan()
announce_environments()


wildcard_constraints:
    run=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    seed=r"\d+",
    data=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    notebook=r"[A-Za-z0-9_]+",


include: "workflow/rules/data.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/folding.smk"
include: "workflow/rules/energy.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/report/index.html",


onstart:
    clear_failures()
    start_warm_interpreter()


onsuccess:
    print_outcome()


onerror:
    report_what_there_is(log)
