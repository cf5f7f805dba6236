"""What checkpoints made to harm are written with: calls, instructions, archives of another program's."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lit_ae.sealed import Seal

Document = dict[str, Any]
MARKER, CANARY = "harmed", "canary_module"  # a file that code would write, a module that would write it when imported
COMMAND = f"touch {MARKER}"
EVIL = "evil"  # a module that a checkpoint beside it is named like
SPLIT = "canary\nmodule"
TRAPS = [f"{name}.py" for name in (CANARY, SPLIT, EVIL, "hubconf")]
OTHER = "other.pt"
FUNCTIONS = {"os.system", "lit_ae.cli.main"}  # in a model's place, with arguments of their own


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


HARM = Calls(os.system, COMMAND)
PAYLOAD = pickle.dumps(HARM, protocol=2)


class State:
    """Pickles as an object of torch's that is given a state."""

    def __reduce__(self) -> Any:
        return torch.device, ("cpu",), {"__class__": "x"}


def sealed(path: Path, document: Any) -> None:
    """Save with a right digest, which anybody can compute."""
    with path.open("wb") as sink:
        seal = Seal(sink)
        torch.save(document, seal)  # type: ignore[arg-type]
        seal.seal()


def assembled(path: Path, records: dict[str, bytes]) -> None:
    """Write records as torch lays them out, with a right digest."""
    with path.open("wb") as sink:
        seal = Seal(sink)
        writer = torch._C.PyTorchFileWriter(seal)
        for name, content in {**records, "byteorder": b"little"}.items():
            writer.write_record(name, content, len(content))
        writer.write_end_of_file()
        seal.seal()


def raw(path: Path, code: bytes, data: bytes = b"\0" * 64) -> None:
    """Write instructions of our own, beside one record."""
    assembled(path, {"data.pkl": code, "data/0": data})


def text(value: str) -> bytes:
    """The instruction for a string."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    """The instruction for a number."""
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def view(shape: list[int], stride: list[int], offset: int = 0, numel: int = 16, key: str = "0") -> bytes:
    """The instructions for a tensor."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(numel) + b"tQ"
    sizes = b"(" + b"".join(map(number, shape)) + b"t(" + b"".join(map(number, stride)) + b"t"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + number(offset)
        + sizes
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def whole(value: bytes, key: str = "state_dict") -> bytes:
    """The instructions for a checkpoint of one value."""
    return b"\x80\x02}" + text(key) + value + b"s."


def traps(folder: Path) -> None:
    """Write what a checkpoint could have imported or opened in the folder in which the commands are given."""
    for name in TRAPS:
        (folder / name).write_text(f"open({MARKER!r}, 'w').close()\nModel = Net = print\n")
    (folder / OTHER).write_bytes(PAYLOAD)


def calling(function: Any, *arguments: Any) -> Callable[[Path, Document], None]:
    """A checkpoint with a call in it."""
    return extra(Calls(function, *arguments))


def applied(function: Any, value: Any) -> Callable[[Path, Document], None]:
    """A checkpoint that calls what has no name of its own, such as a partial, with one value."""
    return calling(list, Calls(map, function, [value]))


def extra(value: Any) -> Callable[[Path, Document], None]:
    """A checkpoint with something more in it."""
    return lambda path, document: sealed(path, {**document, "extra": value})


def placed(*keys: str) -> Callable[[Path, Document], None]:
    """A checkpoint with a call at a place of its own."""

    def write(path: Path, document: Document) -> None:
        part: Any = document
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = HARM
        sealed(path, document)

    return write


def described(arguments: Document, changed: Document) -> Document:
    """Arguments of a model with others in their place; those of something else have none of the first one's."""
    if changed.get("_class_path") in FUNCTIONS:
        return changed
    kept = arguments if "latent_dim" not in changed or "_class_path" not in changed else {"spec": arguments["spec"]}
    spec = {"spec": kept["spec"] | changed.get("spec", {})} if kept.get("spec") else {}
    return kept | changed | spec


def settings(changed: Document) -> Callable[[Path, Document], None]:
    """A checkpoint whose model has other arguments."""

    def write(path: Path, document: Document) -> None:
        document["hyper_parameters"] = described(document["hyper_parameters"], changed)
        sealed(path, document)

    return write


def code(instructions: bytes) -> Callable[[Path, Document], None]:
    """A checkpoint with instructions of our own."""
    return lambda path, document: raw(path, instructions)


def legacy(path: Path, document: Document) -> None:
    document["extra"] = HARM
    torch.save(document, path, _use_new_zipfile_serialization=False)


def scripted(path: Path, document: Document) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), str(path))


def protocol(number: int) -> Callable[[Path, Document], None]:
    def write(path: Path, document: Document) -> None:
        raw(path, pickle.dumps({"state_dict": HARM}, protocol=number))

    return write


def zipped(method: int, **records: bytes) -> Callable[[Path, Document], None]:
    """An archive of another program's, packed."""

    def write(path: Path, document: Document) -> None:
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in {"data.pkl": whole(view([16], [1])), "version": b"3\n", **records}.items():
                archive.writestr(f"archive/{name}", content)

    return write


def patched(change: Callable[[bytearray], bytes | bytearray]) -> Callable[[Path, Document], None]:
    """A file of torch's with other bytes, and no digest."""

    def write(path: Path, document: Document) -> None:
        buffer = io.BytesIO()
        torch.save(document, buffer)
        path.write_bytes(change(bytearray(buffer.getvalue())))

    return write


def entries(content: bytearray) -> list[int]:
    """Where the directory's entries begin."""
    found, at = [], content.find(b"PK\1\2")
    while at >= 0:
        found.append(at)
        at = content.find(b"PK\1\2", at + 4)
    return found


def overlapping(content: bytearray) -> bytearray:
    """Every record of weights is the largest one."""
    places = entries(content)
    large = max(places, key=lambda at: struct.unpack_from("<L", content, at + 24)[0])
    for at in places[4:-2]:
        content[at + 16 : at + 28] = content[large + 16 : large + 28]
        content[at + 42 : at + 46] = content[large + 42 : large + 46]
    return content


def claimed(content: bytearray) -> bytearray:
    """A record of almost 4 GiB."""
    at = entries(content)[6]
    content[at + 20 : at + 28] = struct.pack("<LL", 0xFFFFFFF0, 0xFFFFFFF0)
    return content


def crowded(content: bytearray) -> bytearray:
    """A directory of four billion records."""
    at = content.rfind(b"PK\6\6")
    content[at + 24 : at + 40] = struct.pack("<QQ", 1 << 32, 1 << 32)
    return content


def twice(content: bytearray) -> bytearray:
    """A second end of another archive, in the comment of the first."""
    end = content[-22:]
    content[-2:] = (22).to_bytes(2, "little")
    return content + end


def renamed(name: bytes) -> Callable[[bytearray], bytearray]:
    """A record of another name."""

    def change(content: bytearray) -> bytearray:
        return content.replace(b"archive/data/12", name)

    return change


def memory(path: Path, document: Document) -> None:
    """Numbers of one record in ten thousand tensors."""
    many = b"".join(view([1 << 18], [1], numel=1 << 18) for _ in range(10_000))
    raw(path, whole(b"](" + many + b"e"), b"\0" * (1 << 20))


def chain(count: int) -> bytes:
    """Tuples that hold the one before twice, which are 2 ** count values written out."""
    links = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(count))
    return b"\x80\x02}" + text("hyper_parameters") + b"}" + text("_class_path") + b")" + links + b"ss."


def nonsense(place: str, *value: Any) -> Callable[[Path, Document], None]:
    """A checkpoint with something else at a place, or nothing."""

    def write(path: Path, document: Document) -> None:
        document.pop(place)
        sealed(path, document | dict.fromkeys([place] if value else [], *value))

    return write


def stretched(*keys: str | int) -> Callable[[Path, Document], None]:
    """A checkpoint that holds, at a place of its own, a tensor whose rows are more than fit in memory."""

    def write(path: Path, document: Document) -> None:
        part: Any = document
        for key in keys[:-1]:
            part = part[key] if isinstance(part, list) else part.setdefault(key, {})
        part[keys[-1]] = torch.zeros(1, dtype=torch.uint8).expand(1_900_000)
        sealed(path, document)

    return write


def outside(path: Path, document: Document) -> None:
    """Callbacks that remember a file elsewhere as theirs to remove."""
    victim = str(path.parent / "victim.ckpt")
    for folder in ("", "/", str(path.parent)):
        for name, state in document["callbacks"].items():
            if "best_model_path" in state:
                state |= {"dirpath": folder, "best_model_path": f"{folder}/../..{victim}", "last_model_path": victim}
                state |= {"kth_best_model_path": victim, "best_k_models": {victim: torch.tensor(1e9)}}
            document["callbacks"][name] = state
    sealed(path, document)
