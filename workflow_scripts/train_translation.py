from cardioseg.core import checkpoints, training_loop, volumes
from cardioseg.translation.translators import TRANSLATORS
from support.computing import training_run
from support.job import job

with job(snakemake):
    settings, seed = snakemake.params.settings, snakemake.params.seed
    source, target = (
        [volumes.read(path).array for path in paths] for paths in (snakemake.input.source, snakemake.input.target)
    )
    run = training_run(snakemake, "translation", "translation", seed, "translation")
    network, history = TRANSLATORS[settings["method"]].train(source, target, settings, run)
    training_loop.write_history(snakemake.output.history, history)
    iterations = history[-1]["iteration"] if history else 0
    checkpoints.save_weights(snakemake.output.network, network, settings=settings, iterations=iterations)
    training_loop.remove_state(run.state_folder)
