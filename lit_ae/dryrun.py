"""What a checkpoint holds, found without torch and without running what the file says. Imports no torch.

torch.load with weights_only runs no code of a file's, but it allocates whatever the file asks for. Here the same
instructions are followed on paper first: tensors are only named, and the memory that all would take is added up.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from lit_ae.allowed import MAKERS, NAMES, OLD, STORAGES, Name, Storage, plain
from lit_ae.archive import Damaged, Record

DEEPEST = 100
ROOM = 16 << 20  # bytes of Python objects that even the smallest file may ask for
NODE = 80  # bytes of one on the stack
TIES = 16  # names that one tensor may have
SETTINGS = 20_000  # values in hyper_parameters, which a parser reads several times


class Node:
    """A value on the stack.

    Attributes:
        value: A plain value; a tensor is a `Tensor`.
        weight: Bytes of it, were nothing in it shared.
        held: Bytes of the tensors in it, were nothing shared.
        depth: Levels of containers.
        closed: It is part of another, or was taken twice: nothing may be added to it.
    """

    __slots__ = ("closed", "depth", "held", "value", "weight")

    def __init__(self, value: Any, weight: int, held: int = 0, depth: int = 0) -> None:
        self.value, self.weight, self.held, self.depth, self.closed = value, weight, held, depth, False


class Paper:
    """The stack machine of pickle, for the instructions that torch writes."""

    def __init__(self, code: bytes, found: Mapping[str, Record], size: int) -> None:
        self.code, self.found, self.size, self.at = code, found, size, 0
        self.stack: list[Node] = []
        self.marks: list[list[Node]] = []
        self.memo: dict[int, Node] = {}
        self.storages: dict[str, Storage] = {}
        self.spent = 0

    def run(self) -> Any:
        """Follow them to the end."""
        if self.code[:2] != b"\x80\x02" or self.code[-1:] != b".":
            raise Damaged("its instructions are not those of torch.save")
        self.at, last = 2, len(self.code) - 1
        while self.at < last:
            step = STEPS.get(self.code[self.at])
            if step is None:
                raise Damaged(f"its instruction {self.code[self.at]:#x} is not one that torch.save writes")
            self.at += 1
            step(self)
        if self.at != last or self.marks or len(self.stack) != 1:
            raise Damaged("its instructions end too early")
        return self.stack[0].value

    def take(self, count: int) -> bytes:
        """The next bytes."""
        part = self.code[self.at : self.at + count]
        if len(part) != count:
            raise Damaged("its instructions end too early")
        self.at += count
        return part

    def spend(self, count: int) -> None:
        """Count memory that following the instructions takes."""
        self.spent += count
        if self.spent > ROOM + self.size:
            raise Damaged("it would fill more memory than its size accounts for")

    def push(self, value: Any, weight: int) -> None:
        """Put a value on the stack."""
        self.spend(NODE + weight)
        self.stack.append(Node(value, weight))

    def number(self, count: int, signed: bool = False) -> int:
        """The next bytes as a number."""
        return int.from_bytes(self.take(count), "little", signed=signed)

    def text(self) -> None:
        """A string."""
        raw = self.take(self.number(4))
        self.push(raw.decode("utf-8", "surrogatepass"), 64 + len(raw) * (1 if raw.isascii() else 4))

    def long(self) -> None:
        """An integer of up to 64 bits."""
        count = self.number(1)
        if count > 9:
            raise Damaged("it holds a number that is too long")
        self.push(self.number(count, signed=True), 40)

    def mark(self) -> None:
        """Start a container."""
        self.spend(96)
        self.marks.append(self.stack)
        self.stack = []

    def popped(self) -> list[Node]:
        """What came since the last mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def get(self, count: int) -> None:
        """A value that was there before."""
        node = self.memo[self.number(count)]
        node.closed = True
        self.spend(16)
        self.stack.append(node)

    def put(self, count: int) -> None:
        """Remember a value."""
        self.spend(104)
        self.memo[self.number(count)] = self.stack[-1]

    def tuple_of(self, items: list[Node]) -> None:
        """A tuple."""
        node = Node(tuple(item.value for item in items), 56)
        self.spend(NODE + 56)
        self.join(node, items)
        self.stack.append(node)

    def last(self, count: int) -> list[Node]:
        """The last values of the stack."""
        items = self.stack[-count:]
        if len(items) != count:
            raise Damaged("its instructions are damaged")
        del self.stack[-count:]
        return items

    def join(self, node: Node, items: list[Node]) -> None:
        """Let values be parts of another."""
        self.spend(8 * len(items))
        for item in items:
            item.closed = True
            node.weight += item.weight + 8
            node.held += item.held
            node.depth = max(node.depth, item.depth + 1)
        if node.weight > ROOM + self.size or node.held > TIES * self.size + (1 << 20):
            raise Damaged("it would fill more memory than its size accounts for")
        if node.depth > DEEPEST:
            raise Damaged(f"it is nested more than {DEEPEST} deep")

    def target(self, kind: type) -> Node:
        """The container that is being filled."""
        node = self.stack[-1]
        if type(node.value) is not kind or node.closed:
            raise Damaged("it fills a container that is none, or is shared")
        return node

    def extend(self, items: list[Node]) -> None:
        """Add to a list."""
        node = self.target(list)
        self.join(node, items)
        node.value.extend(item.value for item in items)

    def assign(self, items: list[Node]) -> None:
        """Add to a dict."""
        node = self.target(dict)
        if len(items) % 2:
            raise Damaged("its instructions are damaged")
        self.spend(64 * len(items))
        self.join(node, items)
        for name, item in zip(items[::2], items[1::2], strict=True):
            if not plain(name.value):
                raise Damaged("it names something by what is no name")
            node.value[name.value] = item.value

    def glob(self) -> None:
        """A class or a function."""
        lines = self.code[self.at : self.at + 200].split(b"\n", 2)
        if len(lines) != 3:
            raise Damaged("its instructions are damaged")
        self.at += len(lines[0]) + len(lines[1]) + 2
        name = b".".join(lines[:2]).decode("ascii", "replace")
        name = OLD.get(name, name)
        if name not in NAMES:
            raise Damaged(f"it asks for {name!r}, which no checkpoint needs")
        self.push(Name(name), 64)

    def persistent(self) -> None:
        """A record that tensors are views of."""
        kind, of, key, place, numel = self.stack.pop().value
        if kind != "storage" or type(of) is not Name or type(key) is not str or type(place) is not str:
            raise Damaged("its tensors are not torch's")
        record, itemsize = self.found[f"data/{key}"], STORAGES[of]
        if not key.isdigit() or type(numel) is not int or not 0 <= record.size - numel * itemsize < itemsize:
            raise Damaged("a tensor is larger than its record")
        storage = Storage(numel, itemsize)
        if self.storages.setdefault(key, storage) != storage:
            raise Damaged("two tensors disagree on their record")
        self.push(storage, 200)

    def reduce(self) -> None:
        """Call one of the few functions that are let through."""
        made, given = self.last(2)
        if type(made.value) is not Name or type(given.value) is not tuple:
            raise Damaged("it calls what is no function")
        value, weight, held = MAKERS[made.value](*given.value)
        self.spend(weight)
        node = Node(value, weight + given.weight, held or given.held, given.depth)
        given.closed = True
        self.stack.append(node)

    def build(self) -> None:
        """Versions of modules, which a state dict carries."""
        state = self.stack.pop()
        node = self.target(dict)
        if type(state.value) is not dict or state.value.keys() != {"_metadata"}:
            raise Damaged("it changes an object in a way that torch does not")
        self.join(node, [state])


def fixed(value: Any) -> Callable[[Paper], None]:
    """An instruction that stands for a value."""
    return lambda paper: paper.push(value, 16)


STEPS: dict[int, Callable[[Paper], None]] = {
    ord("}"): lambda paper: paper.push({}, 64),
    ord("]"): lambda paper: paper.push([], 64),
    ord(")"): fixed(()),
    ord("N"): fixed(None),
    0x88: fixed(True),
    0x89: fixed(False),
    ord("X"): Paper.text,
    ord("J"): lambda paper: paper.push(paper.number(4, signed=True), 32),
    ord("K"): lambda paper: paper.push(paper.number(1), 16),
    ord("M"): lambda paper: paper.push(paper.number(2), 32),
    0x8A: Paper.long,
    ord("G"): lambda paper: paper.push(struct.unpack(">d", paper.take(8))[0], 24),
    ord("("): Paper.mark,
    ord("t"): lambda paper: paper.tuple_of(paper.popped()),
    0x85: lambda paper: paper.tuple_of(paper.last(1)),
    0x86: lambda paper: paper.tuple_of(paper.last(2)),
    0x87: lambda paper: paper.tuple_of(paper.last(3)),
    ord("a"): lambda paper: paper.extend(paper.last(1)),
    ord("e"): lambda paper: paper.extend(paper.popped()),
    ord("s"): lambda paper: paper.assign(paper.last(2)),
    ord("u"): lambda paper: paper.assign(paper.popped()),
    ord("h"): lambda paper: paper.get(1),
    ord("j"): lambda paper: paper.get(4),
    ord("q"): lambda paper: paper.put(1),
    ord("r"): lambda paper: paper.put(4),
    ord("c"): Paper.glob,
    ord("Q"): Paper.persistent,
    ord("R"): Paper.reduce,
    ord("b"): Paper.build,
}


def contents(code: bytes, found: Mapping[str, Record], size: int) -> Any:
    """Follow the instructions of data.pkl.

    Args:
        code: They.
        found: All records of the file.
        size: Bytes of the file.

    Returns:
        The object, with `Tensor` for every tensor.

    Raises:
        Damaged: They are others than torch writes, or ask for more memory than the file accounts for.
    """
    if len(code) > ROOM + size // 8:
        raise Damaged("it holds more text than weights")
    try:
        return Paper(code, found, size).run()
    except (LookupError, AttributeError, TypeError, ValueError, OverflowError) as error:  # whatever it does wrong
        raise Damaged("its instructions are damaged") from error


def weight(value: Any) -> int:
    """Number of plain values in a document; anything else counts as too many."""
    if isinstance(value, dict):
        return 1 + sum(weight(name) + weight(item) for name, item in value.items())
    if type(value) in (list, tuple):
        return 1 + sum(map(weight, value))
    return 1 + len(value) // 64 if type(value) is str else 1 if plain(value) else SETTINGS
