import atexit
import gc
import os
import re
import sys
from dataclasses import astuple

from snakemake.exceptions import WorkflowError
from snakemake.io import IOFile
from snakemake.logging import logger

# What planning makes stays: modules, rules, files and jobs. The garbage collector would go through all of it again and
# again, which takes a fifth of the time, and once more at the end of the process.
COLLECTING = gc.get_threshold()
gc.freeze()
gc.set_threshold(1_000_000)
atexit.register(gc.freeze)

# Snakemake shows these folders to steps in an image, too.
sys.path[:0] = [str(workflow.basedir), str(Path(workflow.basedir) / "workflow_scripts")]

from cardioseg.core.turns import AS_STORED, Turn
from cardioseg.cohort import checks
from cardioseg.cohort import plan as cohorts
from cardioseg.core import configuration, configuration_file
from cardioseg.core.errors import InputError
from cardioseg.evaluation import methods
from workflow_scripts.support import (
    batches,
    command_line,
    fingerprints,
    kept,
    leftovers,
    origin,
    raw_files,
    slurm,
    status,
)
from workflow_scripts.support.fingerprints import code
from workflow_scripts.support.planning import (
    check_interpreter,
    check_records_writable,
    check_sendable,
    check_writable,
    contents,
    on_mscmrseg,
    phantom_files,
    phantom_modalities,
    plan,
)

PAPER = Path(workflow.basedir) / "config.yaml"
try:
    if workflow.is_main_process:
        configuration_file.check(PAPER)  # before Snakemake reads it
        command_line.check_options(sys.argv[1:])
        command_line.check_profiles(sys.argv[1:], Path(os.environ.get("PWD", "")))
        check_interpreter(sys.executable)
        check_records_writable()
        if workflow.workflow_settings.persistence_backend.name == "FILE":  # not in a database of the user's
            origin.check_records()
        for path in workflow.config_settings.configfiles:
            configuration_file.check(path)
except InputError as error:
    raise WorkflowError(str(error)) from None


configfile: str(PAPER)


try:
    configuration.check(config)
    if config["data"]:  # written in a file, where nobody has expanded ~
        config["data"] = os.path.expanduser(config["data"])
    # Jobs of a running workflow see what the main process has checked.
    COHORT = plan(config, check=workflow.is_main_process, code=code("support/planning.py"))
    CONTENTS = contents(COHORT) if workflow.is_main_process and config["data"] is not None else None
    ORIGIN = None
    if workflow.is_main_process:
        ORIGIN = origin.of(
            config,
            (CONTENTS or {}).values(),
            workflow.config_settings.configfiles,
            workflow.config_settings.config or {},
        )
        origin.check(ORIGIN)
except InputError as error:
    raise WorkflowError(str(error)) from None
if config["data"] is not None:
    COHORT = raw_files.linked(COHORT, CONTENTS)
elif workflow.is_main_process:
    logger.warning(
        "No data is named (--config data=FOLDER): the cohort is the digital phantom, drawn into results/phantom"
    )
if workflow.is_main_process:
    for note in COHORT.notes + checks.summarised(COHORT.oddities):
        logger.warning(note)

SOURCE = config["cohort"]["source"]["name"]
TARGET = config["cohort"]["target"]["name"]
# In the order of the networks' classes.
STRUCTURES = configuration.structures(config)
# Values in label files that the user gives.
CODES = {config["cohort"][role]["name"]: configuration.label_codes(config, role) for role in ("source", "target")}
SEEDS = config["ensemble"]
SPLITS = COHORT.splits
PATIENTS = list(dict.fromkeys(patient for _, patient in COHORT.volumes))
# The block of each patient, whose batches a job of each step does.
BLOCKS = batches.blocks(PATIENTS, config["compute"]["jobs_per_step"])
SEGMENTED = [*SPLITS["validation"], *SPLITS["test"]]
EVALUATED = [patient for patient in SEGMENTED if COHORT.volumes[TARGET, patient].labels]
# Segmented patients whose own manual source labels can be registered to the target image.
REGISTERED = [patient for patient in SEGMENTED if patient in COHORT.labelled(SOURCE)]
# Segmented patients by the kind of labels that their own source image has or gets.
WITH_LABELS = {"manual": REGISTERED, "predicted": [patient for patient in SEGMENTED if patient in COHORT.partners]}
SAMPLES = range(1, config["synthesis"]["samples"] + 1)
NETWORKS = ["unet", "unet_ft", "cascade_ft"]
# How registered labels are fused with probabilities.
FUSED_BY = config["fusion"] and {
    key: config["fusion"][key] for key in ("blur_mm", "least_agreement", "least_area", "weight")
}
# Which labels of a patient's own source image are fused.
FUSED = configuration.fused_labels(config)
METHODS = methods.chosen(config)
# In the order of elastix.STAGES.
REGISTRATIONS = [method.name for method in METHODS if method.name.startswith("registration")]
# The registration whose masks `fusion` and `self_training` take for a second witness.
WITNESS = (
    config["fusion"] and dict(zip(("none", "rigid", "affine", "deformable"), REGISTRATIONS))[config["fusion"]["stage"]]
)
# The masks of each method, as folders below results/masks.
MODELS_OF = {method.name: method.folders(SEEDS) for method in METHODS}
MODELS = [model for models_of in MODELS_OF.values() for model in models_of]
FINAL = methods.final()
# The cascades that the ensemble is made of: the method, and the weights of U-Net 1 and of U-Net 2.
MEMBER = methods.member(METHODS).name
MEMBER_WEIGHTS = [
    (
        f"results/self_training/seed{{seed}}/{network}_self_trained.pt"
        if config["self_training"]
        else f"results/segmentation/seed{{seed}}/{network}_finetuned.pt"
    )
    for network in ("unet", "cascade")
]
KINDS = ("image", "labels")


wildcard_constraints:
    modality=f"{SOURCE}|{TARGET}",
    patient=r"[^/]+",
    seed=r"\d+",


def ordered(value):
    """The value with the keys of all dictionaries in it in a fixed order, as a rule's parameter needs them."""
    return {key: ordered(value[key]) for key in sorted(value)} if isinstance(value, dict) else value


def section(name):
    """A section of the configuration as a rule's parameter."""
    return ordered(config[name])


def localiser_settings():
    """What the localiser is trained with."""
    looks = {"appearance": ordered(configuration.appearance(config, "localisation")), "contraction": None}
    return section("localisation") | looks


def translation_settings():
    """What the translation depends on: histogram matching reads none of MUNIT's settings."""
    settings = section("translation")
    return {"method": "histogram"} if settings["method"] == "histogram" else settings


# Keys of the segmentation that no training reads.
PREDICTION = ("views", "slice_smoothing_mm")


def segmentation_settings(phase):
    """What a phase of the segmentation's training is run with; phase: a section with its length and step size."""
    settings = section("segmentation")
    shared = {key: value for key, value in settings.items() if key not in ("pretraining", "finetuning", *PREDICTION)}
    looks = {
        "appearance": ordered(configuration.appearance(config, "segmentation")),
        "contraction": ordered(configuration.contraction(config)),
    }
    return shared | looks | {key: phase[key] for key in ("epochs", "learning_rate")}


def network_settings():
    """What a segmentation network is built from."""
    return {key: config["segmentation"][key] for key in ("depth", "dropout", "network", "width")}


def prediction_settings():
    """What a segmentation network is built from, and how it predicts."""
    return network_settings() | {key: config["segmentation"][key] for key in ("precision", *PREDICTION)}


def others(pattern, seed):
    """The files of all seeds but one."""
    return expand(pattern, seed=[other for other in SEEDS if str(other) != seed])


def threads(step):
    return config["compute"]["threads"][step]


def models(patient):
    """Those of MODELS that there are of a segmented patient."""
    return [
        model
        for method in METHODS
        for model in MODELS_OF[method.name]
        if method.source_labels is None or patient in WITH_LABELS[method.source_labels]
    ]


def volume(modality, patient):
    """Files of a patient; of one whom the cohort does not have, what Snakemake then reports as missing."""
    absent = cohorts.Files(
        *(f"{kind} of {modality} of patient {patient}, whom the splits do not have" for kind in KINDS)
    )
    return COHORT.volumes.get((modality, patient), absent)


def raw_image(wildcards):
    return str(volume(getattr(wildcards, "modality", TARGET), wildcards.patient).image)


def turn(modality, patient):
    """How a raw image is turned in-plane, as the arguments of a Turn."""
    return list(astuple(COHORT.turned.get((modality, patient), AS_STORED)))


def crops(modality, patients):
    return expand("results/cropped/{modality}/{patient}.nii.gz", modality=modality, patient=patients)


def crop_labels(patients):
    return expand("results/cropped/labels/{patient}.nii.gz", patient=patients)


def target_files(kind, patients):
    return [getattr(COHORT.volumes[TARGET, patient], kind) for patient in patients]


def in_batches(rule, patients, learnt_from=(), **wildcards):
    """Let each job of a rule do the patients of a block, of these patients."""
    try:
        batches.make(
            workflow.get_rule(rule),
            [wildcards | {"patient": patient} for patient in PATIENTS if patient in patients],
            lambda member: (BLOCKS[member["patient"]], member["patient"] in learnt_from),
        )
    except InputError as error:
        raise WorkflowError(str(error)) from None


def leftover_files():
    """What other configurations made in results/, and what of it was changed since.

    It is known where the running workflow is the whole one.
    """
    jobs = list(workflow.dag.jobs)
    if not {"all", "tidy"} & {job.rule.name for job in jobs}:
        return [], []
    wanted = {str(path) for job in jobs for path in (*job.output, *job.log, job.benchmark) if path}
    # Those that no table needs, where a patient has no labels, are made when they are asked for.
    wanted |= {f"results/masks/{model}/{patient}.nii.gz" for patient in SEGMENTED for model in models(patient)}
    records = {}
    for path in Path("results").rglob("*"):
        record = path.is_file() and workflow.persistence.metadata(IOFile(str(path), rule=jobs[0].rule))
        if record and record.rule:
            records[str(path)] = leftovers.Made(record.endtime, record.log)
    return leftovers.find(records, wanted), leftovers.changed(records, wanted)
