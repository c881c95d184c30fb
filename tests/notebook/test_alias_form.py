"""The form that makes and changes an alias: what it takes, what it gives, where errors stand."""

from __future__ import annotations

import json

import pytest

from bodhi_jupyter.notebook.alias_form import AliasForm
from bodhi_jupyter.notebook.errors import RequestRefused


@pytest.fixture
def form() -> AliasForm:
    return AliasForm(lambda document: None, lambda: None)


@pytest.mark.parametrize(
    "document",
    [
        {"alias": "a", "path": "b.gguf", "tags": ["x", "y"], "keep_alive": "10m"},
        {"alias": "a", "repo": "o/r", "filename": "f.gguf", "context_params": {"n_ctx": 8192, "lora": ["x"]}},
        {"alias": "a", "backend": "gpu", "model": "m", "request_params": {"temperature": 0.3, "stop": ["x"]}},
        {"alias": "a", "path": "b", "request_params": {"system_prompt": "Be\nbrief."}, "unknown": {"kept": True}},
        {"alias": "a", "path": "b", "request_params": {"system_prompt": "\n Be\nbrief.\n"}},
        {"alias": "a", "path": "b", "tags": ["small, but fine", "x"], "description": " It\nhelps. ", "keep_alive": 0},
    ],
)
def test_what_is_shown_is_what_is_saved(form, document):
    form.fill(document, "Change")

    assert form.document() == document


def test_what_the_server_knows_can_be_chosen_from_and_anything_else_typed(form):
    form.offer(
        [
            {"path": "/models/a.gguf"},
            {"repo": "o/r", "filename": "x.gguf"},
            {"repo": "o/r", "filename": "y.gguf"},
            {"repo": "o/s", "filename": "z.gguf"},
            {"backend": "gpu", "model": "big"},
        ]
    )

    def choices(name: str) -> tuple[str, ...]:
        return form.fields[name].input.options

    assert [choices(name) for name in ("path", "repo", "backend")] == [("/models/a.gguf",), ("o/r", "o/s"), ("gpu",)]
    assert choices("filename") == choices("model") == ()
    form.fields["repo"].text, form.fields["backend"].text = "o/r", "gpu"
    assert choices("filename") == ("x.gguf", "y.gguf")
    assert choices("model") == ("big",)
    form.fields["path"].text = "elsewhere.gguf"
    assert form.document()["path"] == "elsewhere.gguf"


@pytest.mark.parametrize(
    ("path", "text", "document"),
    [
        ("tags", "x,  y ,", {"alias": "a", "path": "b", "tags": ["x", "y"]}),
        ("tags", " ", {"alias": "a", "path": "b"}),
        ("description", " Fine. ", {"alias": "a", "path": "b", "tags": ["x, y"], "description": "Fine."}),
    ],
)
def test_blanks_around_what_is_typed_are_not_meant(form, path, text, document):
    form.fill({"alias": "a", "path": "b", "tags": ["x, y"]}, "Change")
    form.fields[path].text = text

    assert form.document() == document


@pytest.mark.parametrize(("typed", "prompt"), [("Be kind.\n", "Be kind.\n"), ("  code\n", "  code\n"), (" \n", None)])
def test_a_prompt_is_taken_as_it_was_typed(form, typed, prompt):
    form.fill({"alias": "a", "path": "b", "request_params": {"system_prompt": "Be brief.\n"}}, "Change")
    form.fields["request_params.system_prompt"].text = typed

    assert form.document().get("request_params", {}).get("system_prompt") == prompt


def test_json_is_shown_as_people_write_it(form):
    form.fill({"alias": "a", "path": "b", "request_params": {"stop": ["Adé", "終"]}}, "Change")

    assert form._more["request_params"].text == '{"stop": ["Adé", "終"]}'


def test_what_stands_for_something_else_is_dropped(form):
    form.fill({"alias": "a", "path": "b.gguf"}, "Change")
    form._target.value = "A model of a configured server"
    form.fields["backend"].text, form.fields["model"].text = "gpu", "m"

    assert form.document() == {"alias": "a", "backend": "gpu", "model": "m"}


def test_no_number_is_left_for_the_server_to_refuse(form):
    form.fill({"alias": "a", "path": "b"}, "New")
    form.fields["request_params.temperature"].text = "warm"

    assert form.document()["request_params"] == {"temperature": "warm"}


def test_no_json_is_left_for_the_server_to_refuse(form):
    form.fill({"alias": "a", "path": "b"}, "New")
    form._more["request_params"].text = "top_k=3"
    form.fields["request_params.temperature"].text = "9"

    assert form.document()["request_params"] == "top_k=3"


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999"])
def test_what_json_does_not_know_is_left_for_the_server_to_refuse(form, text):
    form.fill({"alias": "a", "path": "b"}, "New")
    form.fields["request_params.temperature"].text = text
    form._more["context_params"].text = f'{{"rope_scale": {text}}}'

    document = form.document()
    json.dumps(document, allow_nan=False)
    assert document["request_params"] == {"temperature": text}
    assert document["context_params"] == f'{{"rope_scale": {text}}}'


def test_everything_that_is_wrong_is_shown_at_once(form):
    form.fill({"path": ""}, "New")
    faults = [
        ("alias", "No name."),
        ("request_params.temperature", "Too hot."),
        ("", "Exactly one of 'path', 'repo' and 'backend' is expected."),
    ]
    body = {"error": {"message": "No name."}, "faults": [{"param": p or None, "message": m} for p, m in faults]}
    form.complain(RequestRefused.of(400, json.dumps(body).encode()))

    shown = {name: field.problem.value for name, field in form.fields.items() if field.problem.value}
    assert shown == {
        "alias": "No name.",
        "request_params.temperature": "Too hot.",
        "path": "This field is missing.",
    }
    # What the form has no such words for is said at the fields alone.
    assert form.problem.value == ""


def test_two_faults_of_one_place_are_both_shown(form):
    form.fill({"alias": "a", "path": "b"}, "New")
    faults = [("request_params.stop", "Too many."), ("request_params.min_p", "Too low."), ("", "One."), ("", "Two.")]
    body = {"error": {"message": "Too many."}, "faults": [{"param": p or None, "message": m} for p, m in faults]}
    form.complain(RequestRefused.of(400, json.dumps(body).encode()))

    assert form._more["request_params"].problem.value == "Too many. Too low."
    assert form.problem.value == "One. Two."


def test_what_has_no_field_is_said_beside_what_is_missing(form):
    form.fill({"alias": "a"}, "New")
    form.complain(RequestRefused("Somebody else changed it.", status=412))

    assert form.fields["path"].problem.value == "This field is missing."
    assert form.problem.value == "Somebody else changed it."


@pytest.mark.parametrize(
    ("param", "where"),
    [
        ("alias", "alias"),
        ("tags[1]", "tags"),
        ("request_params.min_p", "more"),
        ("request_params", "more"),
        ("", "form"),
        ("repo", "form"),
    ],
)
def test_where_an_error_stands(form, param, where):
    form.fill({"alias": "a", "path": "b"}, "New")
    form.complain(RequestRefused("No.", param=param))

    places = {"form": form.problem, "more": form._more["request_params"].problem}
    place = places.get(where) or form.fields[where].problem
    assert "No." in place.value
    form.complain(None)
    assert place.value == ""
