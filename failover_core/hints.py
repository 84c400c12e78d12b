"""Hints in messages about a name that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def did_you_mean(given: str, known: Collection[str], otherwise: str = "") -> str:
    """Return a question after the known name that is nearest to what was given.

    Args:
        given: the unknown name.
        known: the names there are.
        otherwise: what to say if none is near. Default: all of them.
    """
    near = difflib.get_close_matches(given, known, n=1)
    return f"did you mean {near[0]!r}?" if near else otherwise or f"known: {', '.join(known)}"
