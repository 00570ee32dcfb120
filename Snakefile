# Chen et al. 2019: segmentation of LGE cardiac MR without LGE labels. The rules follow the data's flow.
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27.1")


report: "rules/captions/workflow.rst"


include: "rules/common.smk"


# For --sdm apptainer.
container: config["compute"]["container"]


include: "rules/phantom.smk"
include: "rules/localisation.smk"
include: "rules/cropping.smk"
include: "rules/cohort.smk"
include: "rules/translation.smk"
include: "rules/synthesis.smk"
include: "rules/segmentation.smk"
include: "rules/self_training.smk"
include: "rules/inference.smk"
include: "rules/postprocessing.smk"
include: "rules/registration.smk"
include: "rules/fusion.smk"
include: "rules/metrics.smk"
include: "rules/scar.smk"
include: "rules/translation_quality.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/overview.smk"
include: "rules/model.smk"
include: "rules/provenance.smk"
include: "rules/batches.smk"


fingerprints.remember()


onstart:
    gc.freeze()
    gc.set_threshold(*COLLECTING)  # as before planning: jobs may run for days
    # Snakemake 9.27's rate limiter leaves one more timer ticking with every job, which after some hundred jobs keep a core busy.
    workflow.scheduler.job_rate_limiter = None
    slurm.adapt(workflow.scheduler._executor)
    try:
        if not workflow.local_exec:
            check_sendable(PATIENTS)
            status.keep_telling(Path())
        check_writable(Path("results"))
        origin.write(ORIGIN)
    except InputError as error:
        raise WorkflowError(str(error)) from None


onsuccess:
    others, changed = leftover_files()
    if "tidy" in {job.rule.name for job in workflow.dag.jobs}:
        leftovers.remove(others)
        kept.forget_removed()
        print(f"{len(others)} files removed, logs and timings among them:" if others else "Nothing to be removed.")
        print(leftovers.told(others), flush=True)
        if changed:
            print(
                "These stay, since they are later than they were made: changed by you, or copied without their times"
            )
            print("(cp -r; cp -a keeps them). Remove them yourself if you do not need them:")
            print(leftovers.told(changed), flush=True)
    elif others:
        print("These files are of other patients, seeds or methods than those of this configuration:")
        print(leftovers.told(others))
        print("The same command with `tidy` as its target removes them, and nothing else.\n", flush=True)
    summary = Path("results/summary.txt")
    if summary.exists():
        print(summary.read_text("utf-8"), flush=True)


rule all:
    default_target: True
    input:
        RESULTS,
        rules.provenance.output,


# Everything, and then what other configurations have made is removed: see onsuccess.
rule tidy:
    input:
        rules.all.input,
    log:
        "results/logs/tidy.log",
    localrule: True
    run:
        Path(log[0]).touch()
