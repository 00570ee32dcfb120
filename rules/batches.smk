# In a large cohort a job does several patients, see workflow_scripts/support/batches.py. No job mixes patients that a
# training learns from with others, so that a change of the others repeats no training.
if len(PATIENTS) > config["compute"]["jobs_per_step"]:
    for modality, learnt_from in (
        (SOURCE, SPLITS["translation_source"]),
        (TARGET, SPLITS["translation_target"]),
    ):
        located = {patient for other, patient in LOCATIONS if other == modality}
        labelled = SPLITS["labelled"] if modality == SOURCE else []
        in_batches("crop", located - {*labelled}, learnt_from, modality=modality)
    witnesses = WITNESSES if config["self_training"] else []
    in_batches(
        "register", {*witnesses, *(REGISTERED if "manual" in FUSED else {*REGISTERED} & {*EVALUATED})}, witnesses
    )
    in_batches("predict", SEGMENTED)
    in_batches("postprocess", SEGMENTED)
    in_batches("evaluate", EVALUATED)
    if config["self_training"]:
        in_batches("predict_self_trained", SEGMENTED)
    if "manual" in FUSED:
        in_batches("fuse", WITH_LABELS["manual"])
    if "predicted" in FUSED:
        in_batches("predict_source", WITH_LABELS["predicted"])
        in_batches("fuse_predicted", WITH_LABELS["predicted"])
    if EXAMINATIONS:
        in_batches("examine", SEGMENTED)
    if config["data"] is None:
        learnt_from = {*SPLITS["labelled"], *SPLITS["translation_source"], *SPLITS["translation_target"]}
        for rule in ("phantom", "phantom_validation", "phantom_unlabelled"):
            drawn = re.compile(workflow.get_rule(rule).wildcard_constraints["patient"])
            in_batches(rule, {patient for patient in PATIENTS if drawn.fullmatch(patient)}, learnt_from)
    # One job a seed makes files of all patients. That Snakemake knows them beforehand saves it a long search.
    for rule in ("synthesise", *(["pseudo_label"] if config["self_training"] else [])):
        batches.make(workflow.get_rule(rule), [{"seed": str(seed)} for seed in SEEDS], lambda member: member["seed"])
