"""Errors that a user can mend: one clear sentence each, naming the file or option and the remedy."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, for a sentence of our own; its type where it has no message.

    What a damaged file holds can be in it, so it is cut at 300 letters, and shown escaped if it is not printable.
    """
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    line = line if len(line) <= 300 else f"{line[:300]}..."
    return line if line.isprintable() else ascii(line)[1:-1]


class UserError(Exception):
    """Base class: the command lines print its message without a traceback and exit with status 2."""


class ConfigError(UserError, ValueError):
    """A config value or command-line option that cannot work."""


class SubnetError(UserError, KeyError):
    """A sub-network name that the super-network does not have."""

    # KeyError.__str__ would show the repr of the message, quotes included.
    __str__ = Exception.__str__


class DataError(UserError):
    """An image, image folder or data set that cannot be used."""


class ArtifactError(UserError):
    """A clusters file, BN bank, checkpoint or export that is broken or belongs to something else."""


class OutputError(UserError):
    """A file or folder that cannot be written, or for which there is no room."""


class DivergedError(UserError):
    """A training whose loss or weights are not finite."""


class LockedError(OutputError):
    """An output that another process is writing."""


class LostProcessError(UserError):
    """Another one of the processes that run a command together has ended.

    Attributes:
        says: Whether this process is the one to say so.
    """

    def __init__(self, message: str, says: bool = True) -> None:
        super().__init__(message)
        self.says = says


class MissingStatisticsError(UserError, RuntimeError):
    """A sub-network is to be evaluated without BatchNorm statistics of its own."""


class UserNotice(UserWarning):
    """Something to know that stops nothing; the command lines print it as one line."""
