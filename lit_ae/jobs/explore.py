"""`lit_ae explore`: a web page of a run's latent space. Imports no torch at its top."""

from __future__ import annotations

import importlib.util
import socket
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from errno import EADDRNOTAVAIL
from importlib import import_module

from lit_ae.errors import ConfigError, StorageError
from lit_ae.jobs.parsing import Parser, above, common, split

NEEDED = ("fastapi", "uvicorn")
DESCRIPTION = """Serve a page of a run's latent space to a browser on this machine: a map of the data, pictures decoded
under the pointer, a slider for each latent, two samples morphed into each other, a picture of yours encoded."""
EPILOG = """  --data.*          a setting of the data that beats the run's own

  lit_ae explore runs/vae/0 --open
  lit_ae explore runs/vae/0 --port 8080 --data photos

Ctrl-C ends it. The page answers to this machine alone unless --host says otherwise; it knows no passwords, so that
ssh -L 8000:localhost:8000 is the way to a page on a server."""


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        "lit_ae explore",
        usage="lit_ae explore RUN [--port P] [--split S] [--n N] [--data PATH] [--open] [...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    common(parser, "run")
    number = above(0, int, True)
    parser.add_argument("--port", type=number, default=8000, metavar="P", help="port, 0 for a free one (8000)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    common(parser, "split", "data")
    parser.add_argument("--n", type=above(1, int, True), default=2000, help="samples on the map (2000)")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    common(parser, "device")
    return parser


def main(argv: Sequence[str]) -> int:
    """Serve the page until Ctrl-C.

    Raises:
        ConfigError: An argument does not fit, or packages are missing.
        RunError: The run cannot be opened.
        DataError: The data that the run needs are missing.
        StorageError: The port is in use.
    """
    if not argv or {"-h", "--help"} & set(argv):
        parser().print_help()
        return 0
    rest, flags = split(argv, "--data.")
    asked = parser().parse_args(rest)
    if asked.port > 65535:
        raise ConfigError(f"--port is {asked.port}: give a number up to 65535.")
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise ConfigError('The page needs packages of its own: pip install "lit_ae[explore]".')
    with listening(asked.host, asked.port) as door:  # first, so that nobody waits for a port that is taken
        explored = import_module("lit_ae.jobs.explored")  # torch comes with it
        return int(explored.serve(asked, flags, door))


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: There is no such address.
        StorageError: The port is in use, or not for us.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError) as error:
        raise ConfigError(f"There is no address {host} with a port {port}: leave out --host and --port.") from error
    door = socket.socket(family, kind, protocol)  # asyncio sends without delay where it reads TCP, and waits 40 ms else
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
        door.listen(128)
    except (OSError, OverflowError) as error:
        door.close()
        other = "--host" if isinstance(error, OSError) and error.errno == EADDRNOTAVAIL else "--port"
        raise StorageError(f"Cannot listen on port {port} of {host} ({error}): choose another {other}.") from error
    return door
