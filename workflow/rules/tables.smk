# The plan of all runs, and the tables made of their small files.


rule make_plan:
    input:
        plan_is_current,
    output:
        report(
            f"{RESULTS}/plan.csv",
            caption="../report/plan.rst",
            category="Overview",
            labels={"page": "plan of all runs"},
        ),
    log:
        f"{LOGS}/plan.log",
    # before any training: whoever watches a call reads the plan
    priority: 1
    localrule: True
    conda:
        "../../envs/stages.yaml"
    params:
        experiments=located(config["experiments"]),
        recipes=RECIPES,
        # a function, since braces in a text would be wildcards
        arguments=lambda wildcards: plan_arguments(),
        rows=plan_rows,
        cache=f"{config['results']}/costs.json",
        device=config["device"],
    message:
        (
            "Plan: a training step of each network is measured here, if it was not before; two minutes at most"
            if config["measure_costs"]
            else "Plan"
        )
    shell:
        "python -m ternary_spike plan --experiments {params.experiments:q} --recipes {params.recipes:q}"
        " {params.arguments} --device {params.device} --cache {params.cache} --out {output} > {log} 2>&1"


rule plan:
    input:
        f"{RESULTS}/plan.csv",
    log:
        f"{LOGS}/plan.txt",
    localrule: True
    conda:
        "../../envs/stages.yaml"
    shell:
        "python -m ternary_spike plan --show {input} 2>&1 | tee {log}"


rule collect:
    input:
        files_of_runs,
        tables_are_current,
        plan=f"{RESULTS}/plan.csv",
    output:
        report(
            directory(f"{RESULTS}/tables"),
            patterns=["{table}.csv"],
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        f"{LOGS}/collect.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        results=subpath(input.plan, parent=True),
        code=lambda wildcards: code_of(*made_from.TABLES),
    shell:
        "python -m ternary_spike collect --plan {input.plan} --results {params.results} --out {output} > {log} 2>&1"
