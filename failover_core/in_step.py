"""Stores that hold the same items, each in its own way: what one could not take, it is owed.

The stores of a pair are indexes of two embedding models. A change goes to each of them; where it
fails, it is kept, and made before the next one. So a store that was away comes back into step
with the others, in the order of the changes, however often it fails.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, TypeVar

from failover_core.errors import ConfigurationError, OutOfStepError
from failover_core.targets import Target

T = TypeVar("T")


class Step:
    """A method to be called, which has an async form with an ``a`` before its name."""

    def __init__(self, owner: Any, method: str, *args: Any, **kwargs: Any) -> None:
        self._owner, self._method, self._args, self._kwargs = owner, method, args, kwargs

    def take(self) -> Any:
        """Return what the method returns."""
        return getattr(self._owner, self._method)(*self._args, **self._kwargs)

    async def atake(self) -> Any:
        """Return what its async form returns."""
        return await getattr(self._owner, f"a{self._method}")(*self._args, **self._kwargs)


Steps = Generator[Step, Any, T]
"""Steps that are sent, or thrown, what came of them, for sync and async callers alike."""


def walk(steps: Steps[T]) -> T:
    """Take steps, and return what they come to."""
    try:
        step = next(steps)
        while True:
            try:
                answer = step.take()
            except Exception as error:  # noqa: BLE001 - the steps know what to make of it
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def awalk(steps: Steps[T]) -> T:
    """Return what ``walk`` returns."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await step.atake()
            except Exception as error:  # noqa: BLE001 - as above
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


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
    def steps(self, store: Any) -> Steps[None]:
        """Do it to a store."""

    def without(self, ids: Collection[str]) -> Self:
        """Return what is left of it when some items are no concern of it."""
        return replace(self, items={one: self.items[one] for one in self.items if one not in ids})


class InStep:
    """Makes changes to several stores, and remembers which of them lacks what.

    Threads and tasks may change different items at once.

    Args:
        targets: the stores, each as the client of a target with a name.
        owner: the class whose stores they are, for the message.

    Raises:
        ConfigurationError: there is one store only.
    """

    def __init__(self, targets: Sequence[Target], *, owner: str) -> None:
        if len(targets) == 1:
            message = f"{owner}: there is one store only; give it two or more"
            raise ConfigurationError(message)
        self._sides = [_Side(str(target.name), target.client) for target in targets]

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
                        walk(change.steps(debt.side.store))

    async def amake(self, *changes: Change) -> None:
        """Do what ``make`` does, to all stores at once."""
        with self._debts(changes) as debts:
            async with asyncio.TaskGroup() as group:
                for debt in debts:
                    group.create_task(self._apay(debt))

    async def _apay(self, debt: _Debt) -> None:
        with debt.paying():
            for change in debt:
                await awalk(change.steps(debt.side.store))

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
        store: itself.
    """

    name: str
    store: Any
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
