"""The few functions that a checkpoint may call, on paper: tensors are only named. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from lit_ae.archive import Damaged

SIZES = {"Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1}
SIZES |= {"Bool": 1, "ComplexFloat": 8, "ComplexDouble": 16}
STORAGES = {f"torch.{name}Storage": size for name, size in SIZES.items()} | {"torch.storage.UntypedStorage": 1}
BITS = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8, "bool": 1}
BITS |= {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16}
BITS |= {"float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "complex32": 4}
DTYPES = {f"torch.{name}": size for name, size in BITS.items()}
OLD = {"__builtin__.set": "builtins.set"}  # as the pickle protocol that torch writes calls it


class Tensor(NamedTuple):
    """A tensor that is only named.

    Args:
        shape: Its shape.
        nbytes: Its elements in bytes.
    """

    shape: tuple[int, ...]
    nbytes: int


class Storage(NamedTuple):
    """A record that tensors are views of."""

    numel: int
    itemsize: int


class Name(str):
    """A class or a function that is only named."""


def plain(value: Any) -> bool:
    """Whether a value can be a key."""
    return type(value) in (str, int, float, bool, type(None)) or (type(value) is tuple and all(map(plain, value)))


def tensor(
    storage: Storage, itemsize: int, offset: int, shape: Any, stride: Any, hooks: Any
) -> tuple[Tensor, int, int]:
    """A view of a record."""
    numbers = [offset, *shape, *stride]
    if type(storage) is not Storage or type(shape) is not tuple or type(stride) is not tuple or hooks != {}:
        raise Damaged("its tensors are not torch's")
    if any(type(each) is not int or each < 0 for each in numbers) or len(shape) != len(stride) or len(shape) > 64:
        raise Damaged("its tensors are not torch's")
    numel = prod(shape)
    reach = offset + 1 + sum((each - 1) * step for each, step in zip(shape, stride, strict=True)) if numel else offset
    if reach * itemsize > storage.numel * storage.itemsize:
        raise Damaged("a tensor is larger than its record")
    return Tensor(shape, numel * itemsize), 400, max(numel * itemsize, 64)


def second(
    storage: Storage, offset: int, shape: Any, stride: Any, grad: bool, hooks: Any, more: Any = None
) -> tuple[Tensor, int, int]:
    """torch._utils._rebuild_tensor_v2."""
    if type(grad) is not bool or more:
        raise Damaged("its tensors are not torch's")
    return tensor(storage, storage.itemsize, offset, shape, stride, hooks)


def third(
    storage: Storage, offset: int, shape: Any, stride: Any, grad: bool, hooks: Any, dtype: Name, more: Any = None
) -> tuple[Tensor, int, int]:
    """torch._utils._rebuild_tensor_v3."""
    if type(grad) is not bool or more or type(dtype) is not Name:
        raise Damaged("its tensors are not torch's")
    return tensor(storage, DTYPES[dtype], offset, shape, stride, hooks)


def parameter(of: Tensor, grad: bool, hooks: Any) -> tuple[Tensor, int, int]:
    """torch._utils._rebuild_parameter."""
    if type(of) is not Tensor or type(grad) is not bool or hooks != {}:
        raise Damaged("its tensors are not torch's")
    return of, 400, max(of.nbytes, 64)


def ordered() -> tuple[dict[Any, Any], int, int]:
    """collections.OrderedDict, which is filled afterwards."""
    return {}, 320, 0


def counter(counts: dict[Any, int]) -> tuple[dict[Any, int], int, int]:
    """collections.Counter."""
    if type(counts) is not dict:
        raise Damaged("it counts what is no dict")
    return dict(counts), 320 + 128 * len(counts), 0


def members(items: list[Any]) -> tuple[frozenset[Any], int, int]:
    """A set."""
    if type(items) is not list or not all(map(plain, items)):
        raise Damaged("its sets are not torch's")
    return frozenset(items), 216 + 64 * len(items), 0


def shape_of(sizes: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
    """torch.Size."""
    if type(sizes) is not tuple or any(type(each) is not int for each in sizes):
        raise Damaged("its shapes are not torch's")
    return sizes, 56 + 8 * len(sizes), 0


def device(name: str, index: int = 0) -> tuple[str, int, int]:
    """torch.device."""
    if type(name) is not str or type(index) is not int:
        raise Damaged("its devices are not torch's")
    return f"{name}:{index}", 100, 0


def encoded(text: str, codec: str) -> tuple[bytes, int, int]:
    """Bytes, as the pickle protocol that torch writes spells them."""
    if type(text) is not str or codec != "latin1":
        raise Damaged("its bytes are not torch's")
    return text.encode("latin1"), 64 + len(text), 0


MAKERS: dict[str, Callable[..., tuple[Any, int, int]]] = {  # value, bytes of it, bytes of its tensors
    "builtins.set": members,
    "collections.Counter": counter,
    "collections.OrderedDict": ordered,
    "torch.Size": shape_of,
    "torch._utils._rebuild_parameter": parameter,
    "torch._utils._rebuild_tensor_v2": second,
    "torch._utils._rebuild_tensor_v3": third,
    "torch.device": device,
    "_codecs.encode": encoded,
}
NAMES = {*MAKERS, *STORAGES, *DTYPES}
