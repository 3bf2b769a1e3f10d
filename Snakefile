# The workflow is workflow/Snakefile. Here, Snakemake finds it from the repository's folder, and profiles/default beside it
# from any other. The keyword `include` would leave its first rule unasked for.
workflow.include("workflow/Snakefile", overwrite_default_target=True)
