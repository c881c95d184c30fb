"""Families are shown as Prometheus's client shows its own counters and histograms."""

import random

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from bodhi_jupyter.telemetry.families import CounterFamily, HistogramFamily

BOUNDS = (0.005, 0.5, 1, 10)


def shown(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line)


def test_counters() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    family = CounterFamily("some_things", 'How "many".', ["kind", "of"], ours)
    reference = Counter("some_things", 'How "many".', ["kind", "of"], registry=theirs)
    for labels, amount in (("a", "x"), 2.5), (('"b"\n', "ü"), 1), (("a", "x"), 3):
        family.series(*labels).value += amount
        reference.labels(*labels).inc(amount)
    family.add_one("a", "y")
    reference.labels("a", "y").inc()
    assert shown(ours) == shown(theirs)
    assert 'some_things_total{kind="a",of="x"} 5.5' in shown(ours)


@pytest.mark.parametrize("seed", range(5))
def test_histograms(seed: int) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    family = HistogramFamily("some_seconds", "How long.", ["kind"], BOUNDS, ours)
    reference = Histogram("some_seconds", "How long.", ["kind"], buckets=BOUNDS, registry=theirs)
    chance = random.Random(seed)
    for _ in range(100):
        kind, value = chance.choice("ab"), chance.choice([*BOUNDS, 0.0, 11.0, chance.uniform(0, 12)])
        family.observe(value, kind)
        reference.labels(kind).observe(value)
    assert shown(ours) == shown(theirs)


def test_series_in_which_nothing_was_counted_are_not_shown() -> None:
    registry = CollectorRegistry()
    CounterFamily("some_things", "How many.", ["kind"], registry).series("a")
    HistogramFamily("some_seconds", "How long.", ["kind"], BOUNDS, registry).series("a")
    assert not [line for line in shown(registry) if not line.startswith("#")]


def test_no_two_families_have_one_name() -> None:
    registry = CollectorRegistry()
    CounterFamily("some_things", "How many.", ["kind"], registry)
    with pytest.raises(ValueError, match="some_things"):
        Counter("some_things", "How many.", registry=registry)
