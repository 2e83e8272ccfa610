"""The benchmark of exactly-once runs, compares both modes, and checks what it wrote."""

import pytest

from benchmarks import metering_exactly_once as benchmark

pytestmark = pytest.mark.races


def test_both_modes_are_measured_and_published(committed_tenant, capsys):
    """S048: what exactly-once costs is measured against plain COPY in the same repetition and printed as a ratio."""
    benchmark.fill()
    repeats = [benchmark.one_repeat(300, 2) for _ in range(2)]
    benchmark.totals_verify(2 * 2 * 300 * 2)
    assert all(set(rates) == {"bare", "exactly_once", "repeated", "whole", "whole_again"} for rates in repeats)
    assert all(rate > 0 for rates in repeats for rate in rates.values())
    benchmark.report(repeats, 300)
    printed = capsys.readouterr().out
    assert "plain COPY without keys = 1.00" in printed
    assert "identity + totals + partitions, database side" in printed
