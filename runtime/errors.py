"""The errors a user can see, and the exit status each one ends a program with.

Every message has the same three parts: what was seen, what was expected, and what to do about it.
"""

from __future__ import annotations


class EdgewrenError(Exception):
    """Base of all errors that are reported as one line instead of a traceback.

    Attributes:
        seen: What was found, with the file, section or flag it was found in.
        expected: What would have been right. May be empty.
        action: What to type or change next. May be empty.
        exit_status: The status the program ends with.
    """

    exit_status = 1

    def __init__(self, seen: str, expected: str = "", action: str = "") -> None:
        self.seen = seen
        self.expected = expected
        self.action = action
        super().__init__("; ".join(part for part in (seen, expected, action) if part))

    def line(self) -> str:
        """The error as the single line a program prints on stderr."""
        return "error: " + " ".join(str(self).split())


class InputError(EdgewrenError):
    """Bad usage or bad input: a flag, a path, a file that is not what it should be."""

    exit_status = 2


class RunError(EdgewrenError):
    """The input was right but the work failed: a crashed converter, a full disk, a lost camera."""

    exit_status = 1


class BudgetError(EdgewrenError):
    """The work was done but missed an accuracy or latency budget the user had set.

    Attributes:
        table: What was measured, as lines to print on stdout before the error.
    """

    exit_status = 3

    def __init__(self, seen: str, expected: str = "", action: str = "", table: str = "") -> None:
        self.table = table
        super().__init__(seen, expected, action)
