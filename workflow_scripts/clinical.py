from cardioseg.evaluation import bland_altman, clinical, measures, methods
from cardioseg.figures import bland_altman as figures
from cardioseg.figures import style
from support.job import job

with job(snakemake):
    metrics = measures.read(snakemake.input[0])
    settings = snakemake.params.settings
    quantities = clinical.quantities(metrics, settings["myocardium"] if settings else None)
    agreement = bland_altman.agreement(quantities)
    quantities.to_csv(snakemake.output.quantities, index=False, float_format="%.3f", na_rep="N/A")
    agreement.to_csv(snakemake.output.agreement, index=False, float_format="%.3f", na_rep="N/A")
    style.save(figures.figure(quantities, methods.reported()), snakemake.output.figures)
