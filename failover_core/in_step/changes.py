"""What can be done to stores of any kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from failover_core.in_step.steps import Steps


@dataclass(frozen=True)
class Holder(ABC):
    """A store of a pair, spoken to in the way of its kind.

    Attributes:
        store: itself.
    """

    store: Any

    @abstractmethod
    def held(self, ids: Collection[str]) -> Steps[dict[str, Any] | None]:
        """Return what the store has of some items; None if it cannot be asked.

        An item that it has, but cannot give back, is None.
        """

    @abstractmethod
    def add(self, items: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        """Add copies of items, of which the store has none."""

    @abstractmethod
    def delete(self, ids: list[str], options: Mapping[str, Any]) -> Steps[None]:
        """Delete items that the store has, or may have."""

    @abstractmethod
    def are_alike(self, held: Any, item: Any) -> bool:
        """Return whether an item that the store has need not be replaced by another."""


@dataclass(frozen=True)
class Change(ABC):
    """Something to be done to every store; done twice, it must be as if done once.

    Attributes:
        items: that it adds, replaces or removes, by their ids.
        options: further arguments of the stores' methods.
    """

    is_removal: ClassVar[bool]
    """Whether the items are gone after it, not there."""

    items: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    @abstractmethod
    def steps(self, holder: Any) -> Steps[None]:
        """Do it to a store."""

    def without(self, ids: Collection[str]) -> Self:
        """Return what is left of it when some items are no concern of it."""
        return replace(self, items={one: self.items[one] for one in self.items if one not in ids})


class Addition(Change):
    """Items to be added, or to replace those of the same ids; one that is there already is not."""

    is_removal = False

    def steps(self, holder: Holder) -> Steps[None]:
        """Do it to a store."""
        held = (yield from holder.held(self.items)) or {}
        due = {
            one: item
            for one, item in self.items.items()
            if one not in held or not holder.are_alike(held[one], item)
        }
        if older := [one for one in due if one in held]:
            yield from holder.delete(older, {})
        if due:
            yield from holder.add(due, self.options)


class Removal(Change):
    """Items to be deleted; those that are not there are no error."""

    is_removal = True

    def steps(self, holder: Holder) -> Steps[None]:
        """Do it to a store."""
        held = yield from holder.held(self.items)
        if ids := list(self.items if held is None else held):
            yield from holder.delete(ids, self.options)
