# Chen et al. 2019: segmentation of LGE cardiac MR without LGE labels. The rules follow the data's flow.
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27.1")


configfile: str(Path(workflow.basedir) / "config.yaml")


report: "rules/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/phantom.smk"
include: "rules/resampling.smk"
include: "rules/localisation.smk"
include: "rules/cropping.smk"
include: "rules/cohort.smk"
include: "rules/translation.smk"
include: "rules/synthesis.smk"
include: "rules/segmentation.smk"
include: "rules/inference.smk"
include: "rules/postprocessing.smk"
include: "rules/registration.smk"
include: "rules/fusion.smk"
include: "rules/metrics.smk"
include: "rules/translation_quality.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/model.smk"
include: "rules/provenance.smk"


onstart:
    # Snakemake 9.27's rate limiter leaves one more timer ticking with every job, which after some hundred jobs keep a core busy.
    workflow.scheduler.job_rate_limiter = None
    try:
        check_writable(Path("results"))
    except InputError as error:
        raise WorkflowError(str(error)) from None


onsuccess:
    summary = Path("results/summary.txt")
    if summary.exists():
        print(summary.read_text(), flush=True)


rule all:
    default_target: True
    input:
        RESULTS,
        rules.provenance.output,
