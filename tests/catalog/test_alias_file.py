import json
import math
from textwrap import dedent

import pytest

from bodhi_jupyter.catalog.alias_file import MAX_BYTES, MOST_FAULTS, AliasProblem, parse_document, parse_text, render

MODERN_BODHIAPP = """\
alias: llama3:instruct
repo: QuantFactory/Meta-Llama-3-8B-Instruct-GGUF
filename: Meta-Llama-3-8B-Instruct.Q8_0.gguf
snapshot: 5007652f7a641fe7170e0bad4f63839419bd9213
request_params: {temperature: 0.7, stop: ["<|eot_id|>"]}
context_params: ["--ctx-size 2048", "--parallel 1"]
"""

OLDER_BODHIAPP = """\
alias: tinyllama:instruct
family: tinyllama
repo: TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF
filename: tinyllama-1.1b-chat-v1.0.Q4_0.gguf
snapshot: main
features:
- chat
chat_template: llama2
request_params:
  top_p: 0.95
context_params:
  n_seed: 42
  n_threads: 4
  n_ctx: 2048
  n_parallel: 4
  n_predict: 256
  n_keep: 24
"""


def parse(text: str):
    return parse_text(dedent(text).encode())


def test_bodhiapp_with_raw_arguments():
    alias = parse(MODERN_BODHIAPP)
    assert (alias.alias, alias.repo) == ("llama3:instruct", "QuantFactory/Meta-Llama-3-8B-Instruct-GGUF")
    assert (alias.context_params.n_ctx, alias.context_params.n_parallel) == (2048, 1)
    assert alias.request_params.plain_defaults == {"temperature": 0.7, "stop": ["<|eot_id|>"]}


def test_bodhiapp_with_the_older_struct():
    alias = parse(OLDER_BODHIAPP)
    assert (alias.context_params.n_ctx, alias.context_params.n_threads) == (2048, 4)
    assert alias.context_params.chat_template is None
    assert alias.request_params.plain_defaults == {"top_p": 0.95, "seed": 42, "n_keep": 24}
    assert alias.request_params.token_limit == 256


def test_what_is_said_twice_is_taken_from_the_request_params():
    alias = parse(
        """\
        alias: a
        path: a.gguf
        request_params: {temperature: 0.1, seed: null}
        context_params: ["--temp 0.9 --seed 3"]
        """
    )
    assert alias.request_params.plain_defaults == {"temperature": 0.1, "seed": 3}


def test_empty_fields_are_not_there():
    alias = parse("alias: a\npath: a.gguf\nrepo:\nrequest_params:\ncontext_params:\ntags:\n")
    assert alias.document == {"alias": "a", "path": "a.gguf"}


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300), ("90", 90), ("-1", math.inf), ("0", 0), ('"-1s"', math.inf)]
)
def test_keep_alive(text, seconds):
    assert parse(f"alias: a\npath: a.gguf\nkeep_alive: {text}\n").keep_alive_seconds == seconds


def test_the_document_is_read_back():
    alias = parse(OLDER_BODHIAPP)
    assert parse_document(alias.document) == alias


@pytest.mark.parametrize(
    ("text", "line", "param", "reason"),
    [
        ("path: a.gguf\nalias: [x]\n", 2, "alias", "a string"),
        ("path: a.gguf\n", 1, "alias", "missing"),
        ("alias: a\npath: p\nrequest_params:\n  seed: 1\n  temperature: 3\n", 5, "request_params.temperature", "t 2"),
        ("alias: a\npath: p\nrequest_params:\n  stop:\n  - a\n  - 5\n", 6, "request_params.stop[1]", "a string"),
        ("alias: a\npath: p\nrequest_params: {stop: [a, b, c, d, e]}\n", 3, "request_params.stop", "at most 4"),
        ("alias: a\npath: p\n\n\ncontext_param: {}\n", 5, "context_param", "no such field"),
        ("alias: a\npath: p\ncontext_params:\n  n_ctxt: 5\n", 4, "context_params.n_ctxt", "no such field"),
        ("alias: a\npath: p\ncontext_params:\n- --ctx-size\n", 3, "context_params", "needs a value"),
        ("alias: a\npath: p\nrequest_params:\n  seed: 1\n  stream: true\n", 5, "request_params.stream", "caller's"),
        ("alias: a\npath: p\ncontext_params:\n- --ctx-size big\n", 3, "context_params.n_ctx", "an integer"),
        ("alias: a\npath: p\nkeep_alive: soon\n", 3, "keep_alive", "'5m'"),
        ("alias: a b\npath: p\n", 1, "alias", "letters, digits"),
        ("alias: a\n", 1, None, "exactly one of"),
        ("alias: a\npath: p\nbackend: b\nmodel: m\n", 1, None, "exactly one of"),
        ("alias: a\nrepo: a/b\n", 1, None, "'repo' and 'filename'"),
        ("alias: a\nbackend: b\n", 1, None, "'backend' and 'model'"),
        ("alias: a\npath: p\nsnapshot: main\n", 1, None, "goes with 'repo'"),
        ("alias: a\nrepo: b/c/d\nfilename: f\n", 2, "repo", "'organisation/name'"),
        ("alias: a\nrepo: b/c\nfilename: ../../f\n", 3, "filename", "inside the repository"),
        ("alias: a\nrepo: b/c\nfilename: /f\n", 3, "filename", "inside the repository"),
        ("alias: a\nrepo: b/c\nfilename: C:/f\n", 3, "filename", "inside the repository"),
        ("alias: a\nrepo: b/c\nfilename: f\nsnapshot: ../x\n", 4, "snapshot", "inside the repository"),
        ("alias: a\npath: [1\n", 3, None, "expected"),
        ("alias: a\n\tpath: b\n", 2, None, "cannot start any token"),
        ("alias: a\npath: b\nalias: c\n", 3, None, "duplicate key"),
        ("alias: a\npath: b\ntags: [2024-01-01]\n", 3, None, "quote dates"),
        ("alias: a\npath: b\nrequest_params: {min_p: .nan}\n", 3, None, "finite"),
        ("alias: a\npath: b\n1: c\n", 3, None, "must be a string"),
        (f"alias: a\npath: b\nrequest_params: {{x: {'[' * 99}{']' * 99}}}\n", 3, "request_params", "too deeply"),
        ("alias: a\npath: b\nx: &x {b: 1}\ny: *x\n", 4, None, "anchors"),
        ("- alias\n", 1, None, "mapping"),
        ("", 1, None, "mapping"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_line_and_field(text, line, param, reason):
    with pytest.raises(AliasProblem) as caught:
        parse_text(text.encode())
    assert (caught.value.line, caught.value.param) == (line, param)
    assert reason in caught.value.reason
    if param:
        assert caught.value.reason.startswith(param)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"repo": "b c", "filename": "f"}, "expected 'organisation/name', or a name, of letters, digits and . _ -"),
        ({"path": ""}, "expected at least 1 character"),
        ({"path": "p", "tags": "x"}, "expected a list"),
        ({"path": "p", "request_params": {"stop": ["a", "b", "c", "d", "e"]}}, "expected at most 4 values"),
        ({"path": "p", "request_params": {"temperature": 3}}, "expected at most 2"),
        ({"path": "p", "request_params": {"temperature": "3"}}, "expected a number"),
        ({"path": "p", "request_params": {"temperature": math.nan}}, "expected a finite number"),
        ({"path": "p", "request_params": {"seed": 2**63}}, "expected less than 9223372036854775808"),
        ({"path": "p", "context_params": {"n_ctx": -1}}, "expected at least 0"),
        ({"path": "p", "context_params": {"n_ctx": "x"}}, "expected an integer"),
        ({"path": "p", "context_params": {"n_ctx": "9" * 5000}}, "expected an integer"),
        ({"path": "p", "context_params": {"n_ctx": 1.5}}, "expected an integer"),
        ({"path": "p", "context_params": {"embeddings": "x"}}, "expected a boolean"),
        ({"path": "p", "context_params": {"embeddings": []}}, "expected a boolean"),
        ({"path": "p", "context_params": {"flash_attention": "x"}}, "expected a boolean or expected 'auto'"),
        ({"path": "p", "context_params": {"pooling": "x"}}, "expected 'none', 'mean', 'cls', 'last' or 'rank'"),
        ({"path": "p", "context_params": 5}, "an object is expected"),
    ],
)
def test_a_mistake_is_told_in_plain_words(fields, reason):
    with pytest.raises(AliasProblem) as caught:
        parse_document({"alias": "a"} | fields)
    assert caught.value.reason == reason


def test_all_mistakes_of_a_document_are_told():
    document = {"alias": "a b", "tags": ["x", 1], "request_params": {"temperature": 9, "stop": ["a", 5]}, "hue": 1}
    with pytest.raises(AliasProblem) as caught:
        parse_document(document)

    params = [param for param, _ in caught.value.faults]
    assert params[0] == caught.value.param == "request_params.stop[1]"
    assert sorted(map(str, params)) == [
        "None",
        "alias",
        "hue",
        "request_params.stop[1]",
        "request_params.temperature",
        "tags[1]",
    ]
    assert dict(caught.value.faults)[None].startswith("exactly one of")


def test_many_mistakes_are_looked_at_once_each_and_the_first_are_told():
    """Hours, were each held against each other."""
    with pytest.raises(AliasProblem) as caught:
        parse_document({"alias": "a", "path": "a.gguf", "tags": [1] * 100_000, "request_params": {"stop": ["a", 5]}})
    params = [param for param, _ in caught.value.faults]
    assert params[:3] == ["request_params.stop[1]", "tags[0]", "tags[1]"]
    assert len(params) == MOST_FAULTS


@pytest.mark.parametrize("data", [b"\x00", b"alias: \xff", b"a: &a\n- *a", b"[" * 300, b"#" * (MAX_BYTES + 1)])
def test_hostile_bytes_are_a_problem_like_any_other(data):
    with pytest.raises(AliasProblem):
        parse_text(data)


def test_a_byte_order_mark_is_no_mistake():
    assert parse_text(b"\xef\xbb\xbfalias: a\npath: b\n").alias == "a"


def test_yaml_1_2_words_are_words():
    assert parse("alias: no\npath: on\n").document == {"alias": "no", "path": "on"}


@pytest.mark.parametrize(
    "document",
    [
        {"alias": "a", "path": "C:\\models\\m.gguf"},
        {"alias": "no", "path": "5", "description": "yes: # no\ttab", "tags": ["null", "1.0", "~", "- x"]},
        {"alias": "a", "backend": "box", "model": "m", "request_params": {"system_prompt": "One.\n  Two. \n\nÜ…\n"}},
        {"alias": "a", "path": "p", "request_params": {"system_prompt": "\n x\n\n"}, "keep_alive": "5m"},
        {
            "alias": "a",
            "path": "p",
            "description": "\x07 bell \u2028 and 🦙",
            "request_params": {"logit_bias": {"5": -1}},
        },
        {
            "alias": "a",
            "path": "p",
            "context_params": {"chat_template": "{% for m in messages %}\n{{ m }}\n{% endfor %}"},
        },
        {"alias": "a", "path": "p", "description": "word " * 1000},
        *(
            {"alias": "a", "path": "p", "tags": [text], "request_params": {"system_prompt": text, "x": [{"y": text}]}}
            for text in (
                "One.\r\nTwo.",
                "a\n\x1b[1m",
                "a\n\x07",
                "a\n\x85b",
                "\x85",
                "a\n\u2028b",
                "a\x7f\nb",
                "a\n\ufffe",
            )
        ),
    ],
)
def test_what_is_written_is_read_back(document):
    alias = parse_document(document)
    assert parse_text(render(alias)) == alias
    assert alias.document == document


def test_several_lines_are_written_for_people():
    alias = parse_document({"alias": "a", "path": "p", "request_params": {"system_prompt": "One.\nTwo.\n"}})
    assert b"  system_prompt: |\n    One.\n    Two.\n" in render(alias)


HAND_WRITTEN = """\
# the team's model
alias: "team"   # keep this name

path: models/team.gguf
request_params:
  # tried 0.9, too wild
  temperature: 0.7
  stop: ["<end>", 'b']  # both are needed
tags:
- small
# the end
"""


def test_a_change_keeps_comments_order_and_spelling():
    old = parse(HAND_WRITTEN)
    new = parse_document(
        old.document
        | {"request_params": {"temperature": 0.2, "stop": ["<end>", "b"], "seed": 1}, "description": "Ours."}
    )
    text = render(new, HAND_WRITTEN.encode()).decode()
    expected = HAND_WRITTEN.replace("0.7", "0.2").replace("# both are needed\n", "# both are needed\n  seed: 1\n")
    assert text == f"{expected}description: Ours.\n"
    assert parse_text(text.encode()) == new


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x: {y: 1}", {"x": {"y": True}}),
        ("x: {y: true}", {"x": {"y": 1}}),
        ("x: [0, 1]", {"x": [False, 1]}),
        ("x: false", {"x": 0}),
        ("x: 1", {"x": True, "seed": 2}),
    ],
)
def test_a_number_becomes_true_or_false_where_python_sees_no_change(before, after):
    previous = f"alias: a\npath: p\nrequest_params:\n  {before}\n".encode()
    written = parse_text(render(parse_document({"alias": "a", "path": "p", "request_params": after}), previous))
    assert json.dumps(written.document["request_params"], sort_keys=True) == json.dumps(after, sort_keys=True)


def test_an_unchanged_alias_is_the_same_file():
    for text in (HAND_WRITTEN, MODERN_BODHIAPP, OLDER_BODHIAPP):
        assert render(parse(text), text.encode()).decode() == text


def test_raw_arguments_stay_until_they_are_changed():
    old = parse(MODERN_BODHIAPP)
    described = parse_document(old.document | {"description": "x"})
    assert '["--ctx-size 2048", "--parallel 1"]' in render(described, MODERN_BODHIAPP.encode()).decode()
    larger = parse_document(old.document | {"context_params": {"n_ctx": 4096}})
    written = render(larger, MODERN_BODHIAPP.encode())
    assert b"--ctx-size" not in written
    assert parse_text(written) == larger


def test_a_default_taken_from_raw_arguments_can_be_removed():
    text = b"alias: a\npath: p\ncontext_params: ['--seed 3', '-c 8']\n"
    old = parse_text(text)
    new = parse_document({key: value for key, value in old.document.items() if key != "request_params"})
    written = parse_text(render(new, text))
    assert written == new
    assert written.request_params.seed is None


def test_fields_of_bodhiapp_stay_in_a_changed_file():
    new = parse_document(parse(OLDER_BODHIAPP).document | {"description": "x"})
    written = render(new, OLDER_BODHIAPP.encode()).decode()
    assert "family: tinyllama" in written
    assert "features:\n- chat" in written


def test_a_field_can_be_removed():
    text = b"alias: a\npath: p\nkeep_alive: 5m\ntags: [x, y]\nrequest_params: {seed: 1, top_p: 1}\n"
    new = parse_document({"alias": "a", "path": "p", "request_params": {"top_p": 1}})
    assert parse_text(render(new, text)) == new
