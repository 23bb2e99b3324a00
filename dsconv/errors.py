"""The two ways in which a command ends badly; `dsconv.cli` turns them into one line and an exit code."""

import difflib


class InputError(Exception):
    """What a person typed or supplied is wrong. The message is the one line they see: what is wrong, what to do.

    Exit code 2. Raised before device work wherever the fault can be known by then.
    """


class RunError(Exception):
    """A run that was asked for correctly failed (diverged, disk full). Exit code 1; the last good checkpoint stays."""


def did_you_mean(name, names) -> str:
    """`'; did you mean NEAREST?'` for the nearest of `names`, or `''` when none is near."""
    close = difflib.get_close_matches(str(name), [str(known) for known in names if known is not None], n=1, cutoff=0.5)
    return f'; did you mean {close[0]}?' if close else ''
