"""The engine's own errors: one line that says what was given or what happened, and what to do."""

from __future__ import annotations

LONGEST = 200
"""Characters of what was found in a damaged file that a message repeats."""


class InputError(ValueError):
    """Bad input from a user or a file.

    The command line prints its message as one line and exits with status 2;
    nothing has been written when it is raised.
    """


class StoppedError(RuntimeError):
    """A run that could not go on, by no fault of its input: a worker process was killed, a disk is full.

    The command line prints its message as one line and exits with status 1; the checkpoint stays.
    """


def brief(text: object, longest: int = LONGEST) -> str:
    """One line of at most so many characters, the middle left out: an error's words, or what was found in a file."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else f"{line[: longest - 23]}...{line[-20:]}"
