"""What stands in for models: lexical, deterministic, and good enough to retrieve and answer."""

from __future__ import annotations

from failover_core.testing.language.answers import Prompt, answer
from failover_core.testing.language.ranking import relevance
from failover_core.testing.language.schemas import value_for
from failover_core.testing.language.vectors import embed
from failover_core.testing.language.words import words

__all__ = ["Prompt", "answer", "embed", "relevance", "value_for", "words"]
