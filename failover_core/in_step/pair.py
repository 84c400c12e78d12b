"""Makes changes to several stores, and keeps what one of them could not take."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from failover_core.errors import ConfigurationError, OutOfStepError, TargetError, some
from failover_core.in_step.changes import Addition, Change, Holder
from failover_core.in_step.steps import Steps, awalk, walk
from failover_core.targets import Target


class InStep:
    """Makes changes to several stores, and remembers which of them lacks what.

    Threads and tasks may change different items at once.

    Args:
        targets: the stores, each as the client of a target with a name.
        kind: how to speak to a store.
        owner: the class whose stores they are, for the message.

    Raises:
        ConfigurationError: there is one store only.
    """

    def __init__(
        self, targets: Sequence[Target], kind: Callable[[Any], Holder], *, owner: str
    ) -> None:
        if len(targets) == 1:
            message = f"{owner}: there is one store only; give it two or more"
            raise ConfigurationError(message)
        self._sides = [_Side(str(target.name), kind(target.client)) for target in targets]

    @property
    def lacking(self) -> dict[str, list[str]]:
        """By store, the ids of items that it may lack, or have in an older form."""
        return self._owed(is_removal=False)

    @property
    def surplus(self) -> dict[str, list[str]]:
        """By store, the ids of items that it may still have."""
        return self._owed(is_removal=True)

    def make(self, *changes: Change) -> None:
        """Make what each store is owed, and then the changes; without any, only the former.

        Raises:
            OutOfStepError: a store failed. The others were changed nevertheless.
        """
        with self._debts(changes) as debts:
            for debt in debts:  # in this thread: some stores know no other
                with debt.paying():
                    for change in debt:
                        walk(change.steps(debt.side.holder))

    async def amake(self, *changes: Change) -> None:
        """Do what ``make`` does, to all stores at once."""
        with self._debts(changes) as debts:
            async with asyncio.TaskGroup() as group:
                for debt in debts:
                    group.create_task(self._apay(debt))

    def repair(self, ids: Iterable[str]) -> None:
        """Make what each store is owed, and fill in what it lacks of some items.

        Args:
            ids: of the items; each is taken from the first store that has it.

        Raises:
            OutOfStepError: a store failed.
            TargetError: no store that has an item can give it back.
        """
        self.make()
        if wanted := list(ids):
            self.make(Addition(walk(self._found(wanted))))

    async def arepair(self, ids: Iterable[str]) -> None:
        """Do what ``repair`` does."""
        await self.amake()
        if wanted := list(ids):
            await self.amake(Addition(await awalk(self._found(wanted))))

    def _found(self, ids: list[str]) -> Steps[dict[str, Any]]:
        found: dict[str, Any] = {}
        for side in self._sides:
            held = (yield from side.holder.held(ids)) or {}
            found |= {one: item for one, item in held.items() if found.get(one) is None}
        if lost := [repr(one) for one, item in found.items() if item is None]:
            message = f"no store can give back {some(lost)}; add them again"
            raise TargetError(message)
        return found

    async def _apay(self, debt: _Debt) -> None:
        with debt.paying():
            for change in debt:
                await awalk(change.steps(debt.side.holder))

    @contextmanager
    def _debts(self, changes: Sequence[Change]) -> Iterator[list[_Debt]]:
        """Yield what each store is to get; keep, in the end, what it did not get."""
        debts = [_Debt(side, side.take(changes)) for side in self._sides]
        try:
            yield debts
        finally:
            for debt in debts:
                debt.side.give_back(debt.changes)
        errors = {debt.side.name: debt.error for debt in debts if debt.error}
        if errors:
            raise OutOfStepError(self.lacking, self.surplus, errors)

    def _owed(self, *, is_removal: bool) -> dict[str, list[str]]:
        found = {side.name: side.owed_ids(is_removal=is_removal) for side in self._sides}
        return {name: ids for name, ids in found.items() if ids}


@dataclass(slots=True)
class _Side:
    """One of the stores.

    Attributes:
        name: of it.
        holder: how it is spoken to.
    """

    name: str
    holder: Holder
    _owed: list[Change] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, changes: Sequence[Change]) -> list[Change]:
        """Take what is owed, with further changes behind; what these make up for is left out."""
        ids = {one for change in changes for one in change.items}
        with self._lock:
            owed, self._owed = self._owed, []
        still = (change.without(ids) for change in owed)
        return [*(change for change in still if change.items), *changes]

    def give_back(self, changes: list[Change]) -> None:
        """Be owed what could not be made, before what is owed since."""
        with self._lock:
            self._owed = changes + self._owed

    def owed_ids(self, *, is_removal: bool) -> list[str]:
        """Return the ids whose last change, of those that are owed, is of that kind."""
        with self._lock:
            last = {one: change.is_removal for change in self._owed for one in change.items}
        return [one for one, removes in last.items() if removes == is_removal]


@dataclass(slots=True)
class _Debt:
    """What one store is to get; iterating takes each change off once it has been made."""

    side: _Side
    changes: list[Change]
    error: Exception | None = None

    def __iter__(self) -> Iterator[Change]:
        while self.changes:
            yield self.changes[0]
            del self.changes[0]

    @contextmanager
    def paying(self) -> Iterator[None]:
        """Note an error, so that the other stores get theirs before it is raised."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            self.error = error
