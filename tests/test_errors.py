"""The tree of errors, and the one that says that everything failed."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from failover_core import AllTargetsFailedError, ErrorClass, ResponseStatusError, Router, errors
from failover_core.testing import ScriptedClient
from tests.engine.doors import REFUSED, Door, ask


def documented_tree() -> Iterator[tuple[str, str]]:
    """Yield each name of the module's docstring with its parent's."""
    assert errors.__doc__
    path: dict[int, str] = {}
    for line in errors.__doc__.splitlines()[2:]:
        name = next((word for word in line.split() if word.endswith("Error")), None)
        if name is None:
            break
        depth = line.index(name) // 4
        path[depth] = name
        if depth:
            yield name, path[depth - 1]


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    tree = dict(documented_tree())
    classes = {
        name: cls
        for name, cls in vars(errors).items()
        if inspect.isclass(cls) and issubclass(cls, errors.FailoverError)
    }
    assert set(tree) | {"FailoverError"} == set(classes)
    assert all(classes[parent] in classes[name].__bases__ for name, parent in tree.items())


def test_no_error_is_a_runtime_error() -> None:
    found = [cls for cls in vars(errors).values() if inspect.isclass(cls)]
    assert not any(issubclass(cls, RuntimeError) for cls in found)


def exhausted(*failures: Exception) -> AllTargetsFailedError:
    names = "abcdefgh"[: len(failures)]
    clients = [ScriptedClient(*pair) for pair in zip(names, ([f] for f in failures), strict=True)]
    with pytest.raises(AllTargetsFailedError) as caught:
        Router(clients, name="docs").run(ask)
    return caught.value


def test_the_group_holds_one_error_per_attempt_in_order_with_notes() -> None:
    first, second = OSError("a's trouble"), ResponseStatusError("b's", status_code=500)
    group = exhausted(first, second)
    assert group.exceptions == (first, second)
    assert group.__cause__ is second
    assert first.__notes__ == ["target 'a', attempt 1: connection"]
    assert second.__notes__ == ["target 'b', attempt 2: server_error"]
    assert str(group).startswith(
        "no target of pool 'docs' could serve the call: every target failed; "
        "a: connection (OSError); b: server_error (ResponseStatusError (HTTP 500))"
    )


def test_the_group_tells_the_common_class_or_none() -> None:
    assert exhausted(REFUSED, ConnectionResetError()).error_class is ErrorClass.CONNECTION
    assert exhausted(REFUSED, ValueError("strange")).error_class is None


def test_the_group_names_disabled_targets_and_the_remedy(door: Door) -> None:
    router = Router([ScriptedClient("a"), ScriptedClient("b", default=REFUSED)])
    router.disable("a")
    with pytest.raises(AllTargetsFailedError, match=r"disabled, until router.enable\(name\): a"):
        door(router, ask)


def test_a_group_that_tried_nobody_says_so() -> None:
    router = Router([ScriptedClient("a")])
    router.disable("a")
    with pytest.raises(AllTargetsFailedError, match="disabled") as caught:
        router.run(ask)
    assert "no target was tried" in str(caught.value.exceptions[0])
    assert caught.value.error_class is None


def test_groups_split_and_match_as_exception_groups_do() -> None:
    group = exhausted(OSError("a"), ValueError("b"))
    matching, rest = group.split(ValueError)
    assert isinstance(matching, AllTargetsFailedError)
    assert isinstance(rest, AllTargetsFailedError)
    assert [len(part.exceptions) for part in (matching, rest)] == [1, 1]
    seen: list[ExceptionGroup[Any]] = []
    try:
        raise group
    except* OSError as part:
        seen.append(part)
    except* ValueError as part:
        seen.append(part)
    assert all(isinstance(part, AllTargetsFailedError) for part in seen)


class Keyworded(Exception):  # noqa: N818 - as SDKs have them
    """An error that cannot be rebuilt from its args."""

    def __init__(self, *, response: Any) -> None:
        super().__init__("vendor's own")
        self.response = response


@pytest.mark.parametrize("member", [Keyworded(response=1), Keyworded(response=lambda: 1)])
def test_a_group_pickles_whatever_it_holds(member: Exception) -> None:
    status = ResponseStatusError("b's", status_code=429, code="slow", retry_after="3")
    group = exhausted(member, status)
    back = pickle.loads(pickle.dumps(group))  # noqa: S301 - made on this line
    assert (str(back), back.error_class) == (str(group), group.error_class)
    assert str(back.exceptions[0]) == "Keyworded (could not be pickled)"
    assert back.exceptions[0].__notes__ == member.__notes__
    rebuilt = back.exceptions[1]
    assert (rebuilt.status_code, rebuilt.code, rebuilt.retry_after) == (429, "slow", "3")
    assert back.__cause__ is rebuilt
    assert rebuilt.__notes__ == status.__notes__


def test_a_pickled_group_keeps_its_common_class() -> None:
    group = exhausted(REFUSED, ConnectionResetError("gone"))
    back = pickle.loads(pickle.dumps(group))  # noqa: S301 - made on this line
    assert back.error_class is ErrorClass.CONNECTION
    assert [type(error) for error in back.exceptions] == [type(REFUSED), ConnectionResetError]


def test_errors_can_be_copied() -> None:
    status = ResponseStatusError("x", status_code=500)
    assert copy.copy(status).status_code == 500
    group = copy.deepcopy(exhausted(REFUSED))
    assert isinstance(group, AllTargetsFailedError)


def test_a_router_within_a_router_keeps_the_common_class() -> None:
    inner = Router([ScriptedClient("a", default=REFUSED), ScriptedClient("b", default=REFUSED)])
    outer = Router([inner, ScriptedClient("c", default="c")])
    assert outer.run(lambda c: c.run(ask) if isinstance(c, Router) else c.call()) == "c"
    assert next(iter(outer.events)).error_class is ErrorClass.CONNECTION
