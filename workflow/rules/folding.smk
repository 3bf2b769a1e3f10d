# Folding of amplitudes and batch norm into the weights (Eqs. 15-17), the proof that nothing changed, and the folded network
# on its own: executed by additions alone, and exported.


rule fold:
    input:
        rules.train.output,
    output:
        network=f"{RUN}/folded.safetensors",
        record=f"{RUN}/folded.json",
    log:
        f"{LOGS}/fold/{{run}}/seed{{seed}}.log",
    conda:
        "../../envs/stages.yaml"
    resources:
        # in a group of jobs, all must agree in a text
        device=config["device"],
        mem_mb=memory("fold"),
        runtime=minutes("fold", 0),
    params:
        run=subpath(output[0], parent=True),
        code=code_of_stage("fold"),
    shell:
        "python -m ternary_spike fold --run {params.run} --out {params.run} > {log} 2>&1"


rule verify:
    input:
        rules.train.output,
        rules.fold.output,
    output:
        f"{RUN}/equivalence.json",
    log:
        f"{LOGS}/verify/{{run}}/seed{{seed}}.log",
    conda:
        "../../envs/stages.yaml"
    resources:
        gpu=stage_gpus,
        device=config["device"],
        mem_mb=memory("verify"),
        runtime=minutes("verify", config["verify_samples"]),
    params:
        data=data_folder,
        run=subpath(output[0], parent=True),
        samples=config["verify_samples"],
        code=code_of_stage("verify"),
    shell:
        "python -m ternary_spike verify --run {params.run} --folded {params.run} --data {params.data} --out {output}"
        " --samples {params.samples} --device {resources.device} --threads {threads} > {log} 2>&1"


rule execute:
    input:
        rules.train.output,
        rules.fold.output,
    output:
        f"{RUN}/execution.json",
    log:
        f"{LOGS}/execute/{{run}}/seed{{seed}}.log",
    conda:
        "../../envs/stages.yaml"
    resources:
        # in a group of jobs, all must agree in a text
        device=config["device"],
        mem_mb=memory("execute"),
        runtime=minutes("execute", config["execute_samples"]),
    params:
        data=data_folder,
        run=subpath(output[0], parent=True),
        samples=config["execute_samples"],
        code=code_of_stage("execute"),
    shell:
        "python -m ternary_spike execute --run {params.run} --folded {params.run} --data {params.data} --out {output}"
        " --samples {params.samples} --threads {threads} > {log} 2>&1"


rule export:
    input:
        rules.train.output,
        rules.fold.output,
    output:
        f"{RUN}/folded.onnx",
        f"{RUN}/onnx.json",
    log:
        f"{LOGS}/export/{{run}}/seed{{seed}}.log",
    conda:
        "../../envs/stages.yaml"
    resources:
        # in a group of jobs, all must agree in a text
        device=config["device"],
        mem_mb=memory("export"),
        runtime=minutes("export", config["verify_samples"]),
    params:
        data=data_folder,
        run=subpath(output[0], parent=True),
        samples=config["verify_samples"],
        code=code_of_stage("export"),
    shell:
        "python -m ternary_spike export --run {params.run} --folded {params.run} --data {params.data}"
        " --out {params.run} --samples {params.samples} --threads {threads} > {log} 2>&1"
