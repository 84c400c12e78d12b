from __future__ import annotations

import pytest

from benchmarks.scenarios.scaling.growth import cost_cells, curves, slope

SIZES = (1, 10, 100, 1_000)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_slope_is_the_power_of_the_size_that_a_cost_grows_with(power: float) -> None:
    # One round in three was disturbed.
    costs = {size: [3e-6 * size**power, 3e-6 * size**power, 1.0] for size in SIZES}
    assert slope(costs) == pytest.approx(power)


def test_a_size_that_was_not_measured_has_an_empty_cell_and_no_point() -> None:
    costs = {size: [1e-6] for size in SIZES[:3]}
    assert cost_cells(costs, SIZES)[-1] == ""
    (line,) = curves("name", "title", "targets", {"ours": costs}).series
    assert line.x == SIZES[:3]
    assert line.name.startswith("ours (slope ")
