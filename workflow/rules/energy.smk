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
        runtime=minutes("energy", 1000),
    params:
        data=data_folder,
        run=subpath(output[0], parent=True),
        constants=" ".join(f"--{key}-picojoule {value}" for key, value in sorted(config["energy_picojoule"].items())),
    shell:
        "python -m ternary_spike energy --run {params.run} --folded {params.run} --data {params.data}"
        " --out {params.run} {params.constants} --device {resources.device} --threads {threads} > {log} 2>&1"
