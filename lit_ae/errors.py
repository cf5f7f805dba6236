"""What went wrong, as types that carry the exit status of the command line."""

import errno

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # a disk takes no more


class LitAEError(Exception):
    """A mistake that the user can mend: one sentence with the way out, and an exit status."""

    status = 1
    quiet = False  # whether another process of the run says it


class ConfigError(LitAEError, ValueError):
    """Usage or configuration is wrong (status 2)."""

    status = 2


class DataError(LitAEError, ValueError):
    """Data are missing, damaged or do not fit (status 3)."""

    status = 3


class RunError(LitAEError, RuntimeError):
    """A run or a checkpoint is missing, damaged or does not fit (status 4)."""

    status = 4


class NonFiniteError(LitAEError, ArithmeticError):
    """A loss or a parameter is not finite (status 5)."""

    status = 5


class StorageError(LitAEError, OSError):
    """The disk is full, or a path cannot be written (status 6)."""

    status = 6
