# The notebooks, executed and rendered, and the report's front page.


rule settings:
    input:
        settings_are_current,
    output:
        f"{RESULTS}/config.json",
    log:
        f"{LOGS}/settings.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        text=lambda wildcards: settings_text(),
    shell:
        "printf '%s\\n' {params.text:q} > {output} 2> {log}"


rule rule_graph:
    input:
        f"{RESULTS}/config.json",
    output:
        f"{RESULTS}/report/rulegraph.dot",
    log:
        f"{LOGS}/rule_graph.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        snakefile=f"{REPOSITORY}/Snakefile",
    shell:
        # the Python that runs the workflow has what reading the Snakefile takes; with conda the rule's own has not
        '"$WORKFLOW_PYTHON" -m snakemake --snakefile {params.snakefile:q} --configfile {input} --cores 1 --nolock'
        " --rulegraph dot all > {output} 2> {log}"


rule trace:
    input:
        trace_is_current,
    output:
        f"{RESULTS}/trace.csv",
    log:
        f"{LOGS}/trace.log",
    conda:
        "../../envs/stages.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    params:
        code=made_from.code_of("trace.csv"),
    shell:
        "python -m ternary_spike trace --out {output} > {log} 2>&1"


rule amplitudes:
    input:
        amplitudes_are_current,
    output:
        f"{RESULTS}/amplitudes.csv",
    log:
        f"{LOGS}/amplitudes.log",
    conda:
        "../../envs/stages.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    params:
        code=made_from.code_of("amplitudes.csv"),
    shell:
        "python -m ternary_spike amplitudes --out {output} > {log} 2>&1"


rule notebook:
    input:
        f"{RESULTS}/trace.csv",
        f"{RESULTS}/amplitudes.csv",
        kept_tables,
        page_is_current,
        source=f"{REPOSITORY}/notebooks/{{notebook}}.py",
        tables=f"{RESULTS}/tables",
    output:
        report(
            f"{RESULTS}/notebooks/{{notebook}}.html",
            caption="../report/notebook.rst",
            category="Notebooks",
            labels={"notebook": "{notebook}"},
        ),
    log:
        text=f"{LOGS}/notebook/{{notebook}}.log",
        # kept when a cell fails, with the error in it
        notebook=f"{RESULTS}/notebooks/{{notebook}}.ipynb",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    params:
        results=subpath(input.tables, parent=True),
        kept=KEPT,
        out=subpath(output[0], parent=True),
        code=lambda wildcards: code_of(*made_from.NOTEBOOKS),
    shell:
        "python -m ternary_spike notebook --notebook {input.source:q} --results {params.results} --kept {params.kept:q}"
        " --out {params.out} > {log.text} 2>&1"


rule report:
    input:
        notebook_pages,
        report_is_current,
        tables=f"{RESULTS}/tables",
        graph=f"{RESULTS}/report/rulegraph.dot",
    output:
        report(
            f"{RESULTS}/report/index.html",
            caption="../report/front.rst",
            category="Overview",
            labels={"page": "front page"},
        ),
    log:
        f"{LOGS}/report.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        results=subpath(input.tables, parent=True),
        kept=KEPT,
        out=subpath(output[0], parent=True),
        code=lambda wildcards: code_of(*made_from.REPORT),
    shell:
        "python -m ternary_spike report --results {params.results} --kept {params.kept:q} --out {params.out}"
        " > {log} 2>&1"
