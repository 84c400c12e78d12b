"""What is measured: each module has a ``measure(effort)`` that returns a section of the page."""

NAMES = (
    "healthy.engine",
    "healthy.chat",
    "healthy.embedding",
    "healthy.ranking",
    "healthy.llamaindex",
    "dead_primary",
    "killed",
    "tails",
    "scaling",
    "cold",
    "infinity",
)
"""Of the modules, in the order of the page."""


def named(asked: str) -> list[str]:
    """Return the names of a module, or of all in a package; none if there is none."""
    return [name for name in NAMES if name == asked or name.startswith(f"{asked}.")]
