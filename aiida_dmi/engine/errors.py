"""The engine's own error: one line that says what was given, what was expected and what to do."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from a user or a file.

    The command line prints its message as one line and exits with status 2;
    nothing has been written when it is raised.
    """
