"""The trait `limits`: what it takes, and what it comes to."""

from typing import Any

import pytest

from bodhi_jupyter.access.limit_settings import Limit, parse_limits


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"users": {}}, "limits.users: "),
        ({"user": {"requests_per_hour": 1}}, "limits.user.requests_per_hour: "),
        ({"user": {"requests_per_minute": 0}}, "limits.user.requests_per_minute: .*greater than 0"),
        ({"user": {"tokens_per_day": "many"}}, "limits.user.tokens_per_day: .*integer"),
        ({"user": {"tokens_per_minute": "60"}}, "limits.user.tokens_per_minute: .*integer"),
        ({"user": {"streams": True}}, "limits.user.streams: .*integer"),
        ({"alias": {"toy": {"streams": 1.5}}}, "limits.alias.toy.streams: .*integer"),
        ({"alias": {"*": 5}}, r"limits.alias.\*: "),
    ],
)
def test_what_makes_no_sense_is_named(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_limits(value)


def test_what_limits_a_request() -> None:
    settings = parse_limits(
        {
            "user": {"requests_per_minute": 60, "tokens_per_day": 1000},
            "alias": {"big": {"streams": 2}, "free": {}, "*": {"streams": 8}},
        }
    )
    of_ann = [Limit("requests_per_minute", "user", "ann", 60), Limit("tokens_per_day", "user", "ann", 1000)]
    assert list(settings.limits_of("ann", "big")) == [*of_ann, Limit("streams", "alias", "big", 2)]
    assert list(settings.limits_of("ann", "toy")) == [*of_ann, Limit("streams", "alias", "toy", 8)]
    assert list(settings.limits_of("ann", "free")) == of_ann


def test_nothing_set_limits_nothing() -> None:
    assert list(parse_limits({}).limits_of("ann", "toy")) == []


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Limit("requests_per_minute", "user", "ann", 1), "requests per minute for each user"),
        (Limit("tokens_per_day", "user", "ann", 1), "tokens per day for each user"),
        (Limit("streams", "alias", "toy", 1), "requests at once for the model 'toy'"),
    ],
)
def test_a_limit_in_words_names_no_person(limit: Limit, words: str) -> None:
    assert limit.words == words
