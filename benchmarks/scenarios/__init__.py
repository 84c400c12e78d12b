"""What is measured: each module has a ``measure(effort)`` that returns a section of the page."""

NAMES = ("healthy", "dead_primary", "killed", "tails", "scaling", "cold", "infinity")
"""Of the modules, in the order of the page."""
