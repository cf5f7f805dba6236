"""Samplers in the folder of a run: `samplers/<kind>/`, laid out like a run itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from lit_ae import catalog, shipped
from lit_ae.arguments import read
from lit_ae.bounded import bounded
from lit_ae.errors import ConfigError, RunError
from lit_ae.jobs.opening import Opened
from lit_ae.runs import Run
from lit_ae.samplers import kinds, known
from lit_ae.samplers.base import Sampler
from lit_ae.storage import load


@dataclass(frozen=True)
class Kept:
    """A sampler of a run: config.yaml, metrics.csv, metrics.json, checkpoints/.

    It is fitted in a folder of its own, which gets its final name when all is there.

    Args:
        run: The run that it was fitted to.
        kind: Its kind.
    """

    run: Run
    kind: str

    @property
    def folder(self) -> Path:
        """Where it lies, once it is fitted."""
        return self.run.folder / "samplers" / self.kind

    @property
    def partial(self) -> Run:
        """Where it is being fitted."""
        return Run(self.folder.with_name(f"{self.kind}.partial"))

    @property
    def metrics(self) -> Path:
        """Nats per sample, written last."""
        return self.folder / "metrics.json"

    def open(self, model: Opened) -> Sampler:
        """The sampler with the weights of its best epoch, in evaluation mode.

        Raises:
            RunError: It is damaged, or the run was trained on since it was fitted.
        """
        again = f"fit it again: lit_ae fit-sampler {self.run.folder} --kind {self.kind} --overwrite"
        try:
            document = read(Run(self.folder).config)
            weights = Run(self.folder).checkpoint("best", "last", "previous")
            with bounded(weights, document["sampler"]):
                sampler: Sampler = class_of(self.kind)(**document["sampler"])
            state = load(weights)["state_dict"]
            sampler.load_state_dict({name.removeprefix("sampler."): value for name, value in state.items()})
        except (ConfigError, OSError, TypeError, KeyError, RuntimeError) as error:
            first = str(error).splitlines()[-1].strip()
            raise RunError(f"The sampler {self.folder} is damaged ({first}): {again}") from error
        if document.get("step") != (step := step_of(model)):
            raise RunError(
                f"The sampler {self.folder} was fitted to step {document.get('step')} of the run, these are the "
                f"weights of step {step}, whose codes mean something else: {again}"
            )
        return sampler.eval().requires_grad_(False)

    def nats(self) -> dict[str, Any]:
        """What metrics.json says."""
        found: dict[str, Any] = json.loads(self.metrics.read_text(encoding="utf-8"))
        return found


def kept(run: Run) -> list[Kept]:
    """Samplers of a run, the newest first."""
    found = [each for kind in kinds() if (each := Kept(run, kind)).metrics.is_file()]
    return sorted(found, key=lambda each: each.metrics.stat().st_mtime, reverse=True)


def step_of(model: Opened) -> int:
    """Optimizer steps that the weights of an opened run have behind them."""
    return int(load(model.checkpoint)["global_step"])


def class_of(kind: str) -> type[Sampler]:
    """The class of a kind.

    Raises:
        ConfigError: There is no such kind.
    """
    cls: type[Sampler] = getattr(import_module(f"lit_ae.samplers.{known(kind)}"), kinds()[kind].name)
    return cls


def told(cls: type[Sampler]) -> set[str]:
    """Arguments of a kind that only the model and its data know; all others are settings."""
    required = {name for name, item in signature(cls).parameters.items() if item.default is Parameter.empty}
    return required | {"condition_shape", "num_classes"}


def serving(model: object) -> list[str]:
    """Kinds that can be fitted to a model."""
    return [kind for kind in kinds() if isinstance(model, class_of(kind).needs)]


def need(kind: str, model: Opened) -> None:
    """Refuse a run that a kind cannot be fitted to.

    Raises:
        ConfigError: Names the variants that can serve.
    """
    cls = class_of(kind)
    if not isinstance(model.model, cls.needs):
        able = [entry.name for entry in catalog.subclasses(shipped.HERE / "models", cls.needs.__name__)]
        few = " or ".join(able) if len(able) < 5 else f"a variant that has them, such as {able[0]} or {able[-1]}"
        raise ConfigError(
            f"A sampler of the kind {kind} is fitted to {cls.of}, and {model.variant} of {model.run.folder} has none: "
            f"name a run of {few}."
        )
