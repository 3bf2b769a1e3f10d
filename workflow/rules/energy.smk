# Counting the folded network's operations and what they cost.


rule energy:
    input:
        rules.train.output,
        rules.fold.output,
    output:
        f"{RUN}/energy.csv",
        f"{RUN}/energy.json",
    log:
        f"{LOGS}/energy/{{run}}/seed{{seed}}.log",
    conda:
        "../../envs/stages.yaml"
    resources:
        gpu=stage_gpus,
        device=config["device"],
        mem_mb=memory("energy"),
        runtime=minutes("energy", ENERGY_SAMPLES),
    params:
        data=data_folder,
        samples=ENERGY_SAMPLES,
        run=subpath(output[0], parent=True),
        constants=" ".join(f"--{key}-picojoule {value}" for key, value in sorted(config["energy_picojoule"].items())),
        code=code_of_stage("energy"),
    shell:
        "python -m ternary_spike energy --run {params.run} --folded {params.run} --data {params.data}"
        " --out {params.run} {params.constants} --samples {params.samples} --device {resources.device} --threads {threads} > {log} 2>&1"
