"""The command line: dispatch, messages and exit statuses. Imports no torch, so that help and lists are instant."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from importlib import import_module

from lit_ae import __version__, stopping, trust
from lit_ae.arguments import COMMANDS, JOBS, resolve
from lit_ae.errors import LitAEError, StorageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DENIED = (errno.EACCES, errno.EROFS, errno.EPERM)

HELP = f"""usage: lit_ae COMMAND [ARGUMENT ...]

{chr(10).join(f"  {name:<12} {summary}" for name, summary in COMMANDS.items())}

  lit_ae fit --config vae_mnist --model.latent_dim 32
  lit_ae fit --config vae --config trainer/fast --trainer.max_epochs 50
  lit_ae fit --config vae --print_config     the configuration in full, then nothing
  lit_ae COMMAND --help                      every argument of a command
  lit_ae COMMAND ... --trust-import PKG      run a checkpoint or a folder of somebody else that names classes of PKG
  lit_ae --print_shtab bash                  a script that completes arguments (also zsh, tcsh)
  lit_ae --version

Exit statuses: 0 done, 1 a bug of ours, 2 usage or config, 3 data, 4 run or checkpoint, 5 not finite,
6 disk or permission, 130 Ctrl-C, 143 terminated."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        with stopping.handled(), trust.asked(argv) as rest:
            return command(rest)
    except stopping.Stopped as stop:
        name = "interrupted" if stop.status == 130 else "terminated"
        print(f"lit_ae: {name}{' before training began' * (argv[0] == 'fit')}.", file=sys.stderr)
        return stop.status
    except KeyboardInterrupt:
        print("lit_ae: interrupted before training began.", file=sys.stderr)
        return 130
    except SystemExit as stop:  # --help and --print_config leave this way
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BrokenPipeError:
        return unread()
    except Exception as error:
        if known := mistake(error):
            if not known.quiet:
                print(f"lit_ae: {known}", file=sys.stderr)
            return known.status
        traceback.print_exc()
        print("lit_ae: this is a bug of ours: please report the lines above.", file=sys.stderr)
        return 1


def command(argv: list[str]) -> int:
    """Run what the arguments name, --trust-import apart."""
    if not argv or argv[0] in {"-h", "--help", "help"}:
        print(HELP)
        return 0
    if argv[0] == "--version":
        print(f"lit_ae {__version__}")
        return 0
    if argv[0] == "list":
        from lit_ae import catalog

        print(catalog.text())
        return 0
    if argv[0] == "--print_shtab":
        from lit_ae.completion import script

        print(script(*argv[1:2] or ["bash"]))
        return 0
    if argv[0] in JOBS:
        module = argv[0].replace("-", "_")
        return int(import_module(f"lit_ae.jobs.{module}").main(argv[1:]))
    request = resolve(argv)
    from lit_ae.launch import launch

    return launch(request)


def mistake(error: BaseException | None) -> LitAEError | None:
    """The user's mistake behind an error; the parser wraps what constructors raise."""
    while error is not None and not isinstance(error, LitAEError):
        if isinstance(error, OSError) and error.errno in (*FULL, *DENIED):
            mend = "free space on the disk" if error.errno in FULL else "change its permissions"
            where = error.filename or "a file, or standard output"
            return StorageError(f"{error.strerror}: {where}: {mend}, or set --runs.")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error


def run() -> None:
    """Entry point of the console script."""
    status = main()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = unread()
    except OSError as error:  # it goes to a full disk
        unread()
        if status == 0:
            print(f"lit_ae: Standard output, {error.strerror}: free space on the disk, or send it on.", file=sys.stderr)
            status = StorageError.status
    sys.exit(status)


def unread() -> int:
    """Stop writing: the reader, `head` say, has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
