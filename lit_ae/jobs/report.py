"""The report of `lit_ae test`: one table, and metrics.json in the folder of the run.

It follows the trainer's pass as plain code on the first process, rather than as a callback within the pass: other
processes need not wait for it, every number is of the whole test split however many processes there were, and a model
that a strategy has split up or wrapped is built anew from its checkpoint.
"""

from __future__ import annotations

import json

from lit_ae.errors import ConfigError, DataError, RunError
from lit_ae.jobs.measures import MEASURED, Unfit
from lit_ae.jobs.opening import Opened
from lit_ae.jobs.tabled import Row, entries, table
from lit_ae.jobs.tested import Tested
from lit_ae.jobs.testing import SUBJECTS
from lit_ae.lightning_cli import LitCLI
from lit_ae.storage import load_weights, write


def after(cli: LitCLI) -> list[str]:
    """The report that follows a pass of the trainer, on its first process and device."""
    trainer, checkpoint = cli.trainer, cli.request.checkpoint
    assert checkpoint is not None
    passed = {name.removeprefix("test/"): value.item() for name, value in trainer.callback_metrics.items()}
    model = cli.build("model").to(trainer.strategy.root_device).eval().requires_grad_(False)
    load_weights(model, checkpoint)
    data = cli.datamodule
    data.trainer = None  # whose processes would each see a part
    name = cli.config.test.name or type(model).__name__
    trial = bool(cli.config.test.trainer.fast_dev_run)
    limited = trainer.limit_test_batches != 1.0 or trial
    batches = int(trainer.num_test_batches[0]) * trainer.world_size if limited else None
    run = Opened(cli.folder, name, model, data, checkpoint)
    return report(Tested(run, cli.asked, passed, batches), cli.folder.config.is_file() and not trial)


def report(of: Tested, keep: bool = True) -> list[str]:
    """Measure, write metrics.json, and say all of it in lines.

    Args:
        of: The run, and what is asked for.
        keep: Whether the run has a folder to write into.

    Raises:
        ConfigError: A measure was asked for by name that the run or its data do not allow.
        StorageError: metrics.json cannot be written.
    """
    found, missing = measured(of)
    run = of.run
    where = run.checkpoint.relative_to(run.run.folder) if keep else run.checkpoint
    lines = [f"{run.run.folder}: {run.variant}, {where}, {of.count:,} test samples", ""]
    lines += table(found)
    if missing:
        lines += ["", "Not measured", *(f"  {name:<{max(map(len, missing))}}  {why}" for name, why in missing.items())]
    if keep:
        facts = {
            "variant": run.variant,
            "checkpoint": str(where),
            "samples": of.count,
            "n": min(of.asked.n, of.count),
            "seed": of.asked.seed,
            "features": of.extractor.name if "fid" in keys(found) and of.extractor else None,
        }
        path = run.run.folder / "metrics.json"
        text = json.dumps(entries(found, facts), indent=2, allow_nan=False) + "\n"
        write(path, lambda sink: sink.write(text.encode()))
        lines += ["", f"metrics  {path}"]
    return lines


def measured(of: Tested) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """Rows by heading, and why there are none of the others."""
    found: dict[str, list[Row]] = {}
    missing: dict[str, str] = {}
    for name, subject in MEASURED.items():
        if not of.asked.wants(name, *SUBJECTS[name]):
            continue
        rows = found[subject.heading(of)] = []
        try:
            for row in subject.rows(of):
                rows += [row] if of.asked.wants(name, row.key) else []
        except Unfit as reason:
            missing[name] = str(reason)
        except (DataError, RunError) as error:  # too few samples, or a sampler of other weights
            if of.asked.metrics is not None:
                raise
            missing[name] = str(error)
    if of.asked.metrics is None:
        return found, missing
    if missing:
        name, why = next(iter(missing.items()))
        raise ConfigError(f"--metrics asks for {name}, but {why}.")
    known = keys(found) | MEASURED.keys()
    if lacking := sorted(of.asked.metrics - known - {key for name in asked_whole(of) for key in SUBJECTS[name]}):
        which = f"{of.run.variant} on {type(of.run.data).__name__}"
        raise ConfigError(f"--metrics asks for {lacking[0]}, which a run of {which} does not allow: leave it out.")
    return found, {}


def asked_whole(of: Tested) -> list[str]:
    """Subjects that were asked for by their own name: of these, what there is will do."""
    return [name for name in SUBJECTS if of.asked.metrics is not None and name in of.asked.metrics]


def keys(found: dict[str, list[Row]]) -> set[str]:
    """Names of all that was measured."""
    return {row.key for rows in found.values() for row in rows}
