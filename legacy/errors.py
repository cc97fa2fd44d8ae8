"""What can end a command of the move, each with the exit code that LEGACY.md gives it."""


class MoveError(Exception):
    """Something ended the move; its text is one sentence for the operator."""

    exit_code = 1


class UnusableSource(MoveError):
    """The SQLite file or an argument cannot be used."""

    exit_code = 2


class VerificationFailed(MoveError):
    """What stands in PostgreSQL is not what the file maps to."""

    exit_code = 4


class Stopped(MoveError):
    """Conflicts or too many rejected rows, and the operator asked to stop then."""

    exit_code = 5
