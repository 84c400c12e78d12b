from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.harness.comparing import figure, ratio, rows_beside, speedup
from benchmarks.harness.markdown import amount, cell, page, table
from benchmarks.harness.processes import alone, worker
from benchmarks.harness.records import (
    NOT_INSTALLED,
    Effort,
    Figure,
    Goal,
    Machine,
    Result,
    Row,
    Section,
    Table,
)
from benchmarks.harness.results import load, merged, save
from benchmarks.harness.turns import Lap, Laps, in_a_row, in_tasks, in_threads, take_turns


def laps(*walls: float) -> Laps:
    return Laps([Lap(wall, wall) for wall in walls])


def result(value: float, goal: Goal | None = None) -> Result:
    row = Row("a call", (Figure(value, "×", goal=goal),))
    section = Section("A title", "Some text.", (Table("A table", ("", "times"), (row,)),))
    machine = Machine("2030-01-01", 2, "Linux", "3.11.0", 0.1, {"httpx": "0.28"})
    return Result(section, machine, Effort.FULL, 3.0)


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds() -> None:
    # The second round was disturbed: the ratio of the medians would be 1.
    assert ratio([2, 20, 2], [1, 10, 2]).value == 2
    assert ratio([2, 20, 2], [1, 10, 2]).low == 1.5


def test_a_figure_of_one_round_has_no_spread() -> None:
    assert figure([3.0], "s") == Figure(3.0, "s")


def test_a_speedup_counts_our_calls_in_the_time_of_one_of_theirs() -> None:
    faster = speedup(laps(1, 1), laps(10, 20))
    assert isinstance(faster, Figure)
    assert faster.value == 15
    assert speedup(laps(1), None) == NOT_INSTALLED


def test_every_contestant_takes_a_turn_in_every_round_forwards_and_backwards() -> None:
    taken = []

    def turn(name: str) -> Lap:
        taken.append(name)
        return Lap(1, 1)

    found = take_turns({"a": lambda: turn("a"), "none": None, "b": lambda: turn("b")}, 2)
    assert taken == ["a", "b", "b", "a", "a", "b"]  # the first two warm up
    assert {name: len(one.laps) for name, one in found.items()} == {"a": 2, "b": 2}


def test_rows_name_those_that_are_not_installed() -> None:
    rows = rows_beside("bare", {"bare": laps(1, 1), "ours": laps(2, 2)}, ("bare", "ours", "gone"))
    assert [row.name for row in rows] == ["bare", "ours", "gone"]
    assert rows[1].cells[2] == Figure(2, "×", 2, 2)
    assert rows[2].cells[0] == NOT_INSTALLED


def test_calls_at_once_are_timed_one_by_one() -> None:
    async def call() -> None: ...

    assert len(in_tasks(call, 6, 3)().each) == 6
    assert len(in_threads(int, 6, 3)().each) == 6
    assert in_a_row(int, 6)().each == ()


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0000123, "s", "12.3 µs"),
        (2.5, "s", "2.50 s"),
        (1.0449, "×", "1.04×"),
        (1234.5, "MiB", "1,234 MiB"),
        (7, "", "7"),
    ],
)
def test_amounts_have_three_digits_and_their_unit(value: float, unit: str, shown: str) -> None:
    assert amount(value, unit) == shown


def test_a_cell_says_whether_its_goal_is_met() -> None:
    goal = Goal(at_most=1.05, why="a good reason")
    assert cell(Figure(1.04, "×", 1.03, 1.06, goal)) == "1.04× (1.03-1.06); ≤ 1.05×: met"
    missed = Figure(1.06, "×", goal=goal)
    assert cell(missed) == "1.06×; ≤ 1.05×: **missed**"
    assert "a good reason" in table(Table("", ("", "times"), (Row("a call", (missed,)),)))


def test_a_reason_is_shown_only_when_its_goal_is_missed() -> None:
    goal = Goal(at_least=2, why="a good reason")
    assert "a good reason" in page({"one": result(1, goal)}, "Intro.")
    met = page({"one": result(3, goal)}, "Intro.")
    assert "a good reason" not in met
    assert "1 met, 0 missed" in met


def test_a_run_of_one_scenario_replaces_its_own_results_only(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    order = ("one", "two")
    save({"two": result(2), "one": result(1)}, tmp_path, order, "Intro.")
    save({"two": result(5)}, tmp_path, order, "Intro.")
    kept = load(tmp_path / "results.json")
    assert kept == {"one": result(1), "two": result(5)}
    assert (tmp_path / "README.md").read_text() == page(kept, "Intro.")


def test_results_keep_the_order_of_the_page() -> None:
    both = merged({"b": result(1), "gone": result(1)}, {"a": result(2)}, ("a", "b"))
    assert list(both) == ["a", "b"]


def test_a_function_called_alone_has_a_process_of_its_own() -> None:
    assert alone(os.getpid) != os.getpid()


def test_a_worker_runs_turns_and_says_what_is_not_installed() -> None:
    with worker() as there:
        turn = there.turn(in_a_row, int, 3)
        assert turn is not None
        assert turn().wall > 0
        assert there.turn(import_module, "no_such_package") is None  # type: ignore[arg-type]


def test_what_a_process_raises_comes_back_as_text() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        alone(divmod, 1, 0)
