"""Tells the runs that a user made from those of others: a keyed digest beside config.yaml. Imports no torch."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

NAME = ".stamp"  # in the folder of a run, so that it moves along
SIZE = 32  # bytes of the key
MOST = 4  # stamps of one run
LARGEST = 1000  # bytes of their file


def stamp(config: Path, content: bytes) -> None:
    """Mark what a run's config.yaml is about to hold as made here; without a home that can be written nothing happens.

    Earlier stamps stay beside the new one: a process may die before config.yaml has changed.
    """
    if (secret := key(make=True)) is None:
        return
    path = config.with_name(NAME)
    lines = list(
        dict.fromkeys([digest(content, secret), *(line.decode("ascii", "replace") for line in stamps(config))])
    )
    beside = path.with_name(f"{NAME}.partial")
    with contextlib.suppress(OSError):  # config.yaml itself says that the disk is full
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text("".join(f"{line}\n" for line in lines[:MOST]), encoding="ascii", errors="replace")
        beside.replace(path)


def own(config: Path) -> bool:
    """Whether this user made this config.yaml, and nobody has changed it since."""
    secret = key()
    try:
        wanted = digest(config.read_bytes(), secret).encode() if secret else b""
    except OSError:
        return False
    return bool(wanted) and any(hmac.compare_digest(found, wanted) for found in stamps(config))


def stamps(config: Path) -> list[bytes]:
    """Those beside a config."""
    try:
        return config.with_name(NAME).read_bytes()[:LARGEST].split()[:MOST]
    except OSError:
        return []


def digest(content: bytes, secret: bytes) -> str:
    """The keyed digest of a file's content."""
    return hmac.new(secret, content, sha256).hexdigest()


def key(make: bool = False) -> bytes | None:
    """This user's own key, which is made where it is wanted; None where there is none."""
    try:
        path = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "lit_ae" / "key"
        if make and not path.exists():
            create(path)
        secret = path.read_bytes()
    except (OSError, RuntimeError):  # no home at all
        return None
    return secret if len(secret) == SIZE else None


def create(path: Path) -> None:
    """Write a new key; of two processes at once the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
            sink.write(secrets.token_bytes(SIZE))
            sink.flush()
            os.fsync(sink.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
