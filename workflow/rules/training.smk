# Training and evaluation of one run with one seed, and the search for the threshold that some runs need before.


rule match:
    input:
        data=data_manifest,
        recipe=ancient(training_recipe),
        # an input, whose values are in params.recipe: the path of a clone is no reason to train again
        sheet=ancient(method_sheet),
        source=source_run,
        target=ancient(rates_to_match),
    output:
        f"{RESULTS}/runs/{{run}}/match.json",
    log:
        f"{LOGS}/match/{{run}}.log",
    conda:
        "../../envs/stages.yaml"
    threads: training_threads
    resources:
        gpu=stage_gpus,
        device=config["device"],
        mem_mb=training_memory,
        # several trainings one after another; a later attempt goes on where the last one stopped
        runtime=training_runtime,
    params:
        architecture=lambda wildcards: planned(wildcards).architecture,
        neuron=lambda wildcards: planned(wildcards).neuron,
        timesteps=lambda wildcards: planned(wildcards).timesteps,
        seed=lambda wildcards: planned(wildcards).seed,
        options=training_options,
        recipe=lambda wildcards: planned(wildcards).recipe_hash,
        code=code_of_stage("train"),
        data=data_folder,
        checkpoints=f"{RESULTS}/checkpoints/{{run}}/match",
    shell:
        "python -m ternary_spike match --id {wildcards.run} --seed {params.seed} --data {params.data}"
        " --architecture {params.architecture} --neuron {params.neuron} --timesteps {params.timesteps}"
        " --recipe {input.recipe:q} {params.options} {input.sheet:q} --target {input.target:q}"
        " --device {resources.device} --threads {threads} --checkpoints {params.checkpoints} --out {output} > {log} 2>&1"


rule train:
    input:
        data=data_manifest,
        recipe=ancient(training_recipe),
        # an input, whose values are in params.recipe: the path of a clone is no reason to train again
        sheet=ancient(method_sheet),
        source=source_run,
        matched=found_threshold,
    output:
        weights=f"{RUN}/weights.safetensors",
        history=f"{RUN}/history.csv",
        record=f"{RUN}/run.json",
    log:
        f"{LOGS}/train/{{run}}/seed{{seed}}.log",
    cache: TRAINING_CACHE
    conda:
        "../../envs/stages.yaml"
    threads: training_threads
    resources:
        gpu=training_gpus,
        # where a training runs is no reason to repeat it, as a changed parameter would be
        device=config["device"],
        mem_mb=training_memory,
        runtime=training_runtime,
    params:
        # what makes a training run again: its row, its recipe's values, its data and the code that decides its result
        architecture=lambda wildcards: planned(wildcards).architecture,
        neuron=lambda wildcards: planned(wildcards).neuron,
        timesteps=lambda wildcards: planned(wildcards).timesteps,
        options=training_options,
        recipe=lambda wildcards: planned(wildcards).recipe_hash,
        code=code_of_stage("train"),
        data=data_folder,
        launch=training_launch,
        out=subpath(output.record, parent=True),
        # not an output: Snakemake deletes a failed job's outputs, and a retry goes on from the checkpoint
        checkpoints=f"{RESULTS}/checkpoints/{{run}}/seed{{seed}}",
    shell:
        "python -m {params.launch} train --id {wildcards.run} --seed {wildcards.seed} --data {params.data}"
        " --architecture {params.architecture} --neuron {params.neuron} --timesteps {params.timesteps}"
        " --recipe {input.recipe:q} {params.options} {input.sheet:q}"
        " --device {resources.device} --threads {threads} --checkpoints {params.checkpoints} --out {params.out} > {log} 2>&1"


rule evaluate:
    input:
        rules.train.output,
    output:
        f"{RUN}/evaluation.json",
    log:
        f"{LOGS}/evaluate/{{run}}/seed{{seed}}.log",
    conda:
        "../../envs/stages.yaml"
    resources:
        gpu=stage_gpus,
        device=config["device"],
        mem_mb=memory("evaluate"),
        runtime=minutes("evaluate"),
    params:
        data=data_folder,
        run=subpath(output[0], parent=True),
        code=code_of_stage("evaluate"),
    shell:
        "python -m ternary_spike evaluate --run {params.run} --data {params.data} --out {output}"
        " --device {resources.device} --threads {threads} > {log} 2>&1"
