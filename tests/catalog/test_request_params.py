import copy

import pytest
from pydantic import ValidationError

from bodhi_jupyter.catalog.request_params import RequestParams, apply_defaults

HELLO = {"role": "user", "content": "hello"}
KWARGS = "chat_template_kwargs"
TEXT = {"type": "text"}
BRIEF = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("params", "body", "expected"),
    [
        # what the caller leaves out is filled in, what they say stays
        ({"temperature": 0.7}, {}, {"temperature": 0.7}),
        ({"temperature": 0.7}, {"temperature": 0}, {"temperature": 0}),
        ({"temperature": 0.7, "top_k": 20}, {"temperature": 1.0}, {"temperature": 1.0, "top_k": 20}),
        ({"stop": ["a"]}, {"stop": []}, {"stop": []}),
        # what a caller's own body is not forwarded with
        ({"seed": 0, "user": "me", "store": True}, {}, {"seed": 0}),
        ({"stop": ""}, {}, {"stop": []}),
        ({"stop": ["", "a"]}, {}, {"stop": ["a"]}),
        ({"logit_bias": {"5": 1, "five": 1}}, {}, {"logit_bias": {"5": 1}}),
        # null means default
        ({"temperature": 0.7}, {"temperature": None}, {"temperature": 0.7}),
        ({}, {"temperature": None}, {"temperature": None}),
        ({"min_p": None}, {}, {}),
        # one limit under three names
        ({"max_tokens": 9}, {}, {"max_tokens": 9}),
        ({"max_completion_tokens": 9}, {}, {"max_tokens": 9}),
        ({"max_tokens": 9}, {"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 9}, {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        ({"max_completion_tokens": 9}, {"n_predict": 5}, {"n_predict": 5}),
        ({"max_tokens": 9}, {"max_completion_tokens": None}, {"max_completion_tokens": 9}),
        ({"max_tokens": 9}, {"max_tokens": None, "n_predict": 5}, {"max_tokens": None, "n_predict": 5}),
        ({"n_predict": 9}, {}, {"max_tokens": 9}),
        ({"n_predict": 9}, {"max_tokens": 5}, {"max_tokens": 5}),
        ({"n_predict": 9}, {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        ({"n_predict": 9}, {"n_predict": 5}, {"n_predict": 5}),
        ({"n_predict": -1}, {}, {}),
        # and others under two
        ({"n_cmpl": 2}, {}, {"n": 2}),
        ({"n_cmpl": 2}, {"n": 1}, {"n": 1}),
        ({"n": 2}, {"n_cmpl": 1}, {"n_cmpl": 1}),
        ({"n_probs": 3}, {}, {"n_probs": 3}),
        ({"n_probs": 3}, {"logprobs": False}, {"logprobs": False}),
        ({"logprobs": 2}, {"n_probs": 3}, {"n_probs": 3}),
        # the format of answers, under three
        ({"grammar": "root ::= [a]"}, {"json_schema": {}}, {"json_schema": {}}),
        ({"grammar": "root ::= [a]"}, {"response_format": TEXT}, {"response_format": TEXT}),
        ({"json_schema": {}, "response_format": TEXT}, {"grammar": "x"}, {"grammar": "x"}),
        ({"grammar": "x", "top_k": 7}, {"json_schema": None}, {"grammar": "x", "json_schema": None, "top_k": 7}),
        # the template's arguments, one by one
        ({KWARGS: {"a": 1}}, {KWARGS: {"b": 2}}, {KWARGS: {"a": 1, "b": 2}}),
        ({KWARGS: {"a": 1, "b": 1}}, {KWARGS: {"b": 2}}, {KWARGS: {"a": 1, "b": 2}}),
        ({KWARGS: {"a": 1}}, {KWARGS: "odd"}, {KWARGS: "odd"}),
        ({KWARGS: "odd"}, {KWARGS: {"a": 1}}, {KWARGS: {"a": 1}}),
        # the system prompt
        ({"system_prompt": "Be brief."}, {"messages": [HELLO]}, {"messages": [BRIEF, HELLO]}),
        ({"system_prompt": "Be brief."}, {"messages": []}, {"messages": [BRIEF]}),
        ({"system_prompt": ""}, {"messages": [HELLO]}, {"messages": [HELLO]}),
        ({"system_prompt": "Be brief."}, {"prompt": "hello"}, {"prompt": "hello"}),
        ({"system_prompt": "Be brief."}, {"messages": "hello"}, {"messages": "hello"}),
    ],
)
def test_defaults(params, body, expected):
    before = copy.deepcopy(body)
    assert apply_defaults(body, RequestParams(**params)) == expected
    assert body == before


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("position", [0, 1])
def test_an_instruction_of_the_caller_replaces_the_system_prompt(role, position):
    messages = [HELLO]
    messages.insert(position, {"role": role, "content": "Shout."})
    body = {"messages": messages}
    assert apply_defaults(body, RequestParams(system_prompt="Be brief.")) is body


def test_a_body_without_need_is_returned_itself():
    body = {"temperature": 0.1, "max_tokens": 5, "messages": [HELLO]}
    assert apply_defaults(body, RequestParams(temperature=0.7, max_tokens=9)) is body


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 2.1},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": "0.5"},
        {"temperature": True},
        {"top_p": 1.1},
        {"presence_penalty": 2.5},
        {"frequency_penalty": -2.5},
        {"seed": 2**63},
        {"stop": ["a", "b", "c", "d", "e"]},
        {"max_tokens": 0},
        {"max_tokens": 1, "max_completion_tokens": 2},
        {"max_tokens": 1, "n_predict": 2},
        {"n_predict": "9"},
        {"model": "another"},
        {"messages": []},
        {"stream": True},
    ],
)
def test_refused(params):
    with pytest.raises(ValidationError):
        RequestParams(**params)


def test_an_integer_is_a_number():
    assert RequestParams(temperature=1).temperature == 1
