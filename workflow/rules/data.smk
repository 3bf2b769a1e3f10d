# The datasets: from their own files to the form that training reads. Only `download` touches the network.


rule download:
    output:
        touch(f"{RESULTS}/data/{{data}}.downloaded"),
    log:
        f"{LOGS}/download/{{data}}.log",
    conda:
        "../../envs/stages.yaml"
    resources:
        mem_mb=2000,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        dataset=lambda wildcards: DATA[wildcards.data].dataset,
        root=lambda wildcards: DATA[wildcards.data].root,
    shell:
        "python -m ternary_spike download --dataset {params.dataset} --root {params.root:q} > {log} 2>&1"


rule prepare:
    input:
        ancient(downloaded),
    output:
        # written last; what it lists beside itself differs between the datasets
        f"{RESULTS}/data/{{data}}/manifest.json",
    log:
        f"{LOGS}/prepare/{{data}}.log",
    conda:
        "../../envs/stages.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        dataset=lambda wildcards: DATA[wildcards.data].dataset,
        source=lambda wildcards: DATA[wildcards.data].kind,
        options=data_options,
        out=subpath(output[0], parent=True),
        code=data_code,
    shell:
        "python -m ternary_spike prepare --dataset {params.dataset} --source {params.source} {params.options}"
        " --out {params.out} > {log} 2>&1"
