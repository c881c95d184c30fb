import math

import pytest

from bodhi_jupyter.wire.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (300, 300.0),
        (0.5, 0.5),
        (0, 0.0),
        ("0", 0.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("+2s", 2.0),
        ("100ms", 0.1),
        ("1500us", 0.0015),
        ("1500µs", 0.0015),
        ("1500μs", 0.0015),
        ("1h0m0.5s", 3600.5),
    ],
)
def test_seconds(value, seconds):
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [-1, -0.1, "-1s", "-1m", "-1h30m"])
def test_negative_is_for_ever(value):
    assert parse_duration(value) == math.inf


@pytest.mark.parametrize("value", ["-0s", "-0", -0.0])
def test_minus_zero_is_at_once(value):
    assert parse_duration(value) == 0


@pytest.mark.parametrize("value", ["", "5", "m", "5 m", "5M", "5d", "1h-5m", "-", "\u0665m", " 5m", "5m\n", "1e3s"])
def test_what_go_refuses_is_refused(value):
    with pytest.raises(ValueError, match="duration such as '5m'"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["1" * 2**20, "1." * 2**19, "1s" * 2**19 + "1"], ids=["digits", "dots", "parts"])
def test_a_long_text_is_read_once(value):
    """Hours, were each digit a place to read it differently."""
    with pytest.raises(ValueError, match="duration such as '5m'"):
        parse_duration(value)


@pytest.mark.parametrize("value", [None, True, [], float("nan")])
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match="expected seconds"):
        parse_duration(value)


@pytest.mark.parametrize("value", [10**400, -(10**400)], ids=["positive", "negative"])
def test_numbers_beyond_all_measure_are_refused(value):
    with pytest.raises(ValueError, match="too large"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["x" * 10_000, [["x" * 100] * 100] * 100])
def test_an_error_repeats_little_of_the_value(value):
    with pytest.raises(ValueError, match="but got") as caught:
        parse_duration(value)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "1ms"),
        (0.12, "120ms"),
        (1, "1s"),
        (1.2, "2s"),
        (59.1, "1m0s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (86399.5, "24h0m0s"),
        (7384, "2h3m4s"),
    ],
)
def test_as_openai_spells_it(seconds, text):
    assert format_duration(seconds) == text
    assert parse_duration(text) >= seconds
