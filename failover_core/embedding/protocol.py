"""What the embedding side of the library asks of a client."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class Kind(StrEnum):
    """What a text is for. Many models embed a query and a passage differently."""

    QUERY = "query"
    PASSAGE = "passage"


@runtime_checkable
class EmbeddingClient(Protocol):
    """A client of one server that turns texts into vectors."""

    model: str | None

    def embed(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        """Return one vector per text, in the order of the texts: shape ``(n, dim)``."""
        ...

    async def aembed(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        """Return what ``embed`` returns."""
        ...
