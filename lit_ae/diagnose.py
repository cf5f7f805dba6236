"""One short message for a command line or a config that does not parse, naming the nearest thing that would."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.loggers import Logger
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from datamodules.transforms import Transform
from lit_ae.likelihoods import LikelihoodHead
from lit_ae.models.base import Autoencoder
from lit_ae.nn import Decoder, Encoder
from lit_ae.posteriors import PosteriorHead
from lit_ae.priors import Prior

BASES: dict[str, type] = {
    "model": Autoencoder,
    "data": LightningDataModule,
    "encoder": Encoder,
    "decoder": Decoder,
    "likelihood": LikelihoodHead,
    "posterior": PosteriorHead,
    "prior": Prior,
    "optimizer": Optimizer,
    "lr_scheduler": LRScheduler,
    "transforms": Transform,
    "trainer.callbacks": Callback,
    "trainer.logger": Logger,
    "activation": nn.Module,
}


LONGEST = 1500  # characters of a message
SHOWN = 150  # of a value in it


def diagnose(message: str, keys: Iterable[str], files: Mapping[str, str]) -> str:
    """Say what is wrong in one line.

    Args:
        message: What the parser says.
        keys: Every key that the parser knows, dotted.
        files: Name → text of the config files given; those that hold the mistake are named.
    """
    return short(" ".join(explained(message, keys, files).split()), LONGEST)


def explained(message: str, keys: Iterable[str], files: Mapping[str, str]) -> str:
    """What is wrong, at any length."""
    path = re.findall(r'Parser key "([\w.]+)"', message)
    if path and path[-1].endswith("lr_scheduler") and re.search(r"(?<![\w.])ReduceLROnPlateau\b", message):
        full = "torch.optim.lr_scheduler.ReduceLROnPlateau"  # Lightning has a class of that name, too
        return f"{'.'.join(path)}: ReduceLROnPlateau is ambiguous: name it in full, {full}."
    if wrong := re.search(r"Expected a dot import path string: (\S+)", message):
        return unknown_class(wrong[1], path) + place(wrong[1], files)
    if wrong := re.search(r"(?:Option|option|Key) '([\w.]+)' is not (?:accepted|expected)", message):
        owner = re.findall(r"class_path[ =]'([\w.]+)'", message)
        known, name = (parameters(owner[-1]), owner[-1]) if owner else (keys, "the config")
        return unknown_key(wrong[1], known, name) + place(wrong[1], files)
    if wrong := re.search(r"does not accept option '([\w.]+)'", message):
        name = wrong[1].partition(".")[0]
        return unknown_key(name, {key.partition(".")[0] for key in keys}, "the config") + place(name, files)
    if wrong := re.search(r"[uU]nrecognized arguments: (.+)", message):
        flags = [word.partition("=")[0] for word in wrong[1].split() if word.startswith("--")]
        if not flags:
            return f"Unexpected argument {wrong[1].split()[0]!r}: flags start with --."
        return unknown_key(flags[0], {f"--{key}" for key in keys}, "the command line")
    where = ".".join(path[:1] if len(set(path)) == 1 else path) or "the command line"
    if wrong := re.search(r"argument (--\S+?)(?:/\S+)?: expected .*argument", message):
        return f"{wrong[1]}: something below it has no value: write --key value, or --key=value."
    if wrong := re.search(r"Unable to load config ['\"](.*?)['\"]?(?: - |$)", message, re.DOTALL):
        return f"{where}: {short(wrong[1], SHOWN)!r} is neither keys with values nor a file of them."
    if wrong := re.search(r"the following arguments are required: ([\w., ]+)", message):
        return f"{where}: {wrong[1]} must be given, it has no default."
    if expected := re.findall(r"Expected an? (.+?)(?:\. Got value|$)", message, re.MULTILINE):
        value = re.search(r"Got value: (.+?)(?:\. Got value|$)|Given value: (.+)", message, re.MULTILINE)
        return wrong_value(where, value[1] or value[2] if value else "this", expected, path)
    return f"{where}: {' '.join(message.split())[:400]}"


def place(word: str, files: Mapping[str, str]) -> str:
    """Which config files hold a word."""
    whole = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
    return "".join(f" (in {name})" for name, text in files.items() if whole.search(text))


def short(text: str, most: int) -> str:
    """The beginning of a text that is too long to show."""
    return text if len(text) <= most else f"{text[:most]}..."


def wrong_value(where: str, value: str, expected: list[str], path: list[str]) -> str:
    """A value of the wrong type, or none of those that are allowed."""
    types = list(dict.fromkeys(re.findall(r"<class '([\w.]+)'>", " ".join(expected))))
    choices = re.findall(r"'([\w.+-]+)'", " ".join(text for text in expected if "Literal" in text))
    wanted = [name.rsplit(".", 1)[-1] for name in types if name != "NoneType"] + [repr(choice) for choice in choices]
    near = get_close_matches(value, choices, n=1, cutoff=0.5)
    base = next((BASES[key] for key in reversed(path) if key in BASES), None)
    fitting = " or ".join(wanted) or (f"a class that is {article(base.__name__)}" if base else "what its help says")
    hint = f": did you mean {near[0]!r}?" if near else f": give {fitting}."
    return f"{where}: {short(value, SHOWN)!r} does not fit{hint}"


def article(name: str) -> str:
    """A name with its article."""
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def unknown_class(name: str, path: list[str]) -> str:
    """A class that nobody defines."""
    base = next((BASES[key] for key in reversed(path) if key in BASES), None)
    known = sorted({cls.__name__ for root in ([base] if base else BASES.values()) for cls in descendants(root)})
    near = get_close_matches(name.rsplit(".", 1)[-1], known, n=1, cutoff=0.5)
    where = ".".join(path) or "the config"
    if near:
        return f"{where}: there is no class {short(name, SHOWN)!r}: did you mean {near[0]!r}?"
    shown = f"choose from {', '.join(known)}" if len(known) <= 20 else "see lit_ae list"
    own = "or give the import path of your own (package.Class)."
    return f"{where}: there is no class {short(name, SHOWN)!r}: {shown}, {own}"


def unknown_key(name: str, known: Iterable[str], owner: str) -> str:
    """A key that nobody reads."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)[:300]}."
    return f"{owner.rsplit('.', 1)[-1]} has no key {short(name, SHOWN)!r}: {hint if known else 'see lit_ae --help.'}"


def descendants(base: type) -> Iterator[type]:
    """Every imported, final subclass."""
    cls: type
    for cls in base.__subclasses__():
        if not inspect.isabstract(cls):
            yield cls
        yield from descendants(cls)


def parameters(class_path: str) -> set[str]:
    """Constructor arguments of a class, those of its bases included."""
    short = class_path.rsplit(".", 1)[-1]
    cls = next((cls for base in BASES.values() for cls in descendants(base) if cls.__name__ == short), object)
    names = {name for base in cls.__mro__ for name in inspect.signature(vars(base).get("__init__", base)).parameters}
    return names - {"self", "args", "kwargs"}
