"""Shipped configs and command lines with something wrong in them, drawn by hypothesis from the number of the trial."""

from __future__ import annotations

import copy
import json
import string
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from lit_ae import shipped
from reliability.oddities import BOMB, CLASSES, KEYS, NUMBERS, ODD_KEYS, WORDS

SECTIONS = {"below model": "model", "below data": "data", "below trainer": "trainer"}


@cache
def configs() -> dict[str, dict[str, Any]]:
    """Name → document of every shipped config."""
    return {name: yaml.safe_load(path.read_text(encoding="utf-8")) for name, path in shipped.names().items()}


def scalars() -> st.SearchStrategy[Any]:
    """Values of every type that YAML knows."""
    characters = st.characters(blacklist_categories=("Cs",))
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from(NUMBERS),
        st.floats(allow_subnormal=False),
        st.sampled_from(WORDS),
        st.sampled_from(CLASSES),
        st.text(characters, max_size=30),
        st.dates(),
        st.binary(max_size=8),
    )


def junk() -> st.SearchStrategy[Any]:
    """Values of every type, collections among them."""
    keys = st.one_of(st.sampled_from(KEYS), st.sampled_from(KEYS), st.sampled_from(ODD_KEYS))
    nested = st.recursive(
        scalars(),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
        max_leaves=8,
    )
    classes = st.fixed_dictionaries(
        {"class_path": st.one_of(st.sampled_from(CLASSES), scalars())}, optional={"init_args": nested}
    )
    return st.one_of(scalars(), scalars(), nested, classes, st.integers(10, 400).map(deep))


def deep(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something is, below a value."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += [(*path, key), *places(item, (*path, key))]
    return found


@st.composite
def misspelt(draw: st.DrawFn, word: str) -> str:
    """A word with one letter changed, doubled, swapped or gone."""
    if not word:
        return "x"
    at, letter = draw(st.integers(0, len(word) - 1)), draw(st.sampled_from(string.ascii_letters + "._-+ "))
    return draw(
        st.sampled_from(
            [
                word[:at] + letter + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + word[at + 1 :],
                word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :],
                word.upper(),
            ]
        )
    )


@st.composite
def mutated(draw: st.DrawFn, document: dict[str, Any], below: str | None) -> Any:
    """A document with one to three things wrong in it, all of them below a key where one is named."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        found = [path for path in places(document) if below is None or path[0] == below]
        if not found:
            break
        path = draw(st.sampled_from(found))
        owner: Any = document
        for key in path[:-1]:
            owner = owner[key]
        last = path[-1]
        kinds = ["junk", "junk", "class", "delete", "misspell", "add", "wrap", "key", "swap"]
        kind = draw(st.sampled_from(kinds))
        if kind == "class" and isinstance(owner[last], str | dict):
            owner[last] = (
                draw(st.sampled_from(CLASSES)) if isinstance(owner[last], str) else {"class_path": draw(junk())}
            )
        elif kind == "delete" and len(path) > 1:
            owner.pop(last)
        elif kind == "misspell" and isinstance(last, str) and len(path) > 1:
            owner[draw(misspelt(last))] = owner.pop(last)
        elif kind == "misspell" and isinstance(owner[last], str):
            owner[last] = draw(misspelt(owner[last]))
        elif kind == "add" and isinstance(owner[last], dict):
            owner[last][draw(st.sampled_from(KEYS))] = draw(junk())
        elif kind == "add" and isinstance(owner[last], list):
            owner[last].append(draw(junk()))
        elif kind == "wrap":
            owner[last] = draw(
                st.sampled_from([[owner[last]], {"class_path": owner[last]}, {"init_args": owner[last]}])
            )
        elif kind == "key" and isinstance(owner, dict) and len(path) > 1:
            owner[draw(st.sampled_from(KEYS + ODD_KEYS))] = owner.pop(last)
        elif kind == "swap":
            other = configs()[draw(st.sampled_from(sorted(configs())))]
            others = [value for place in places(other) if isinstance(value := at(other, place), type(owner[last]))]
            owner[last] = copy.deepcopy(draw(st.sampled_from(others))) if others else None
        else:
            owner[last] = draw(junk())
    return document


def at(document: Any, path: tuple[Any, ...]) -> Any:
    """What lies there."""
    for key in path:
        document = document[key]
    return document


@st.composite
def garbled(draw: st.DrawFn, text: str) -> str:
    """A text with bytes gone, lines doubled, or what no YAML survives."""
    lines = text.splitlines()
    number = draw(st.integers(0, len(lines) - 1))
    cut = draw(st.integers(0, len(text)))
    word = draw(st.sampled_from(WORDS))
    kinds = {
        "double a line": "\n".join([*lines[: number + 1], *lines[number:]]),
        "cut": text[:cut],
        "insert": text[:cut] + word + text[cut:],
        "indent": "\n".join([*lines[:number], "   " + lines[number], *lines[number + 1 :]]),
        "tab": "\n".join([*lines[:number], "\t" + lines[number], *lines[number + 1 :]]),
        "bomb": f"{text}\n{BOMB}",
        "anchors": f"{text}\nmodel: &m\n  class_path: VAE\n  init_args: *m\n",
        "deep": f"{text}\nz: {'[' * 3000}",
        "twice": f"{text}\n{text}",
        "document": f"{text}\n---\n{text}",
        "list": f"- {word}\n- 1",
        "word": word,
        "empty": "",
        "comment": "# nothing",
        "crlf": text.replace("\n", "\r\n"),
        "bom": f"\ufeff{text}",
        "tag": f"!!python/object/apply:os.system\n{text}",
    }
    return kinds[draw(st.sampled_from(sorted(kinds)))]


@st.composite
def config(draw: st.DrawFn, form: str) -> tuple[list[str], dict[str, bytes]]:
    """A mutated config: the command line that reads it, and the files that it needs."""
    below = SECTIONS.get(form)
    known = configs()
    name = draw(st.sampled_from(sorted(name for name, document in known.items() if below is None or below in document)))
    text = None
    if below is None and draw(st.booleans()):
        text = draw(garbled(shipped.names()[name].read_text(encoding="utf-8")))
    elif below is None and draw(st.integers(0, 9)) == 0:
        return ["fit", "--config", "mutant.yaml"], {"mutant.yaml": draw(st.binary(max_size=200))}
    if text is None:
        document = draw(mutated(known[name], below))
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=draw(st.booleans()))
    others = draw(st.lists(st.sampled_from(["trainer/fast", "trainer/gpu", "logger/tensorboard", "vae"]), max_size=1))
    files = ["mutant.yaml", *others] if draw(st.booleans()) else [*others, "mutant.yaml"]
    argv = ["fit", *(item for file in files for item in ("--config", file))]
    return argv, {"mutant.yaml": text.encode("utf-8", "surrogatepass")}


@cache
def flags() -> list[str]:
    """Flags as people write them: every key of every shipped config, dotted."""
    found = {"--seed_everything", "--runs", "--name", "--config", "--ckpt_path", "--trust-import", "--print_config"}
    for document in configs().values():
        for path in places(document):
            words = [str(key) for key in path if key not in ("init_args", "class_path") and not isinstance(key, int)]
            found.add("--" + ".".join(words))
    return sorted(found)


@st.composite
def line(draw: st.DrawFn) -> tuple[list[str], dict[str, bytes]]:
    """A mutated command line."""
    argv = ["fit"]
    if draw(st.booleans()):
        argv += ["--config", draw(st.sampled_from(sorted(configs())))]
    for _ in range(draw(st.integers(1, 3))):
        flag = draw(st.sampled_from(flags()))
        if draw(st.integers(0, 3)) == 0:
            flag = draw(misspelt(flag))
        if draw(st.integers(0, 7)) == 0:
            flag += draw(st.sampled_from(["+", ".class_path", ".init_args", ".help", ".", "..x", ".x.y.z"]))
        value = draw(junk())
        text = value if isinstance(value, str) else draw(st.sampled_from([json.dumps, str, repr]))(plain(value))
        text = text.replace("\x00", "")  # which no command line can hold
        kind = draw(st.sampled_from(["two words", "one word", "no value", "value alone", "twice"]))
        argv += {
            "two words": [flag, text],
            "one word": [f"{flag}={text}"],
            "no value": [flag],
            "value alone": [text],
            "twice": [f"{flag}={text}", f"{flag}={text}"],
        }[kind]
    if draw(st.integers(0, 9)) == 0:
        argv[0] = draw(st.one_of(misspelt("fit"), st.sampled_from([word for word in WORDS if "\x00" not in word])))
    return [item for item in argv if not item.startswith(("--ckpt_path", "-h", "--h"))], {}


def plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def drawn(form: str, number: int) -> tuple[list[str], dict[str, bytes]]:
    """The mutant of a number: its command line, and the files that it needs."""
    found = []
    strategy = line() if form == "command lines" else config(form)

    @seed(number)
    @settings(
        max_examples=4,  # the first is the simplest there is
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(mutant: tuple[list[str], dict[str, bytes]]) -> None:
        found.append(mutant)

    draw()
    argv, files = found[-1]
    return argv, files


def write(files: dict[str, bytes], folder: Path) -> None:
    """Put the files of a mutant where its command line looks for them."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
