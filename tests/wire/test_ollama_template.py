"""The part of Go's templates that is understood."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bodhi_jupyter.wire.errors import InvalidField
from bodhi_jupyter.wire.ollama_template import render_template

settings.register_profile("bodhi", deadline=None, database=None, max_examples=150, derandomize="CI" in os.environ)
settings.load_profile("bodhi")

CHATML = """{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ .Response }}<|im_end|>
"""


@pytest.mark.parametrize(
    ("template", "written"),
    [
        (CHATML, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nP<|im_end|>\n<|im_start|>assistant\n"),
        ("{{.Prompt}}", "P"),
        ("[INST] {{ .System }} {{ .Prompt }} [/INST]{{ .Response }} after", "[INST] S P [/INST]"),
        ("a  {{- .Prompt -}}  b", "aPb"),
        ("a {{ .Prompt -}}\n\n b", "a Pb"),
        ("a {{- if .Suffix }} x {{ else }} y {{ end -}} z", "a y z"),
        ("{{ if not .Suffix }}none{{ end }}", "none"),
        ("{{ if .System }}{{ if .Suffix }}1{{ else }}2{{ end }}{{ else }}3{{ end }}", "2"),
        ("{{ if .Suffix }}{{ if .System }}1{{ else }}2{{ end }}{{ else }}3{{ end }}", "3"),
        ("{{/* a comment */}}x", "x"),
        ("{{- /* a comment */ -}} x", "x"),
        ("{{ if .Suffix }}{{ .Response }}{{ end }}kept", "kept"),
        ("no action at all", "no action at all"),
        ("", ""),
    ],
)
def test_what_is_written(template, written) -> None:
    assert render_template(template, system="S", prompt="P") == written


@pytest.mark.parametrize(
    "template",
    [
        "{{ range .Messages }}{{ .Content }}{{ end }}",
        "{{ .Tools }}",
        "{{ if .Tools }}x{{ end }}",
        "{{ if and .System .Prompt }}x{{ end }}",
        "{{ else if .Prompt }}",
        "{{ if .Prompt }}",
        "{{ end }}",
        "{{ else }}",
        "{{ if .Prompt }}{{ else }}{{ else }}{{ end }}",
        "{{ .Prompt",
        "{{ }}",
        "{{ if .Prompt }}" * 40 + "{{ end }}" * 40,
    ],
)
def test_what_is_refused(template) -> None:
    with pytest.raises(InvalidField, match=r"^invalid template: ") as info:
        render_template(template)
    assert (info.value.status, info.value.param) == (400, "template")


def test_a_template_that_repeats_a_long_prompt_does_not_fill_the_memory() -> None:
    with pytest.raises(InvalidField, match="characters"):
        render_template("{{ .Prompt }}" * 10_000, prompt="x" * 2**20)


@pytest.mark.parametrize(("times", "length"), [(100, 10_000), (3, 2**20)])
def test_a_template_may_repeat_a_short_prompt_often_and_a_long_one_some_times(times, length) -> None:
    assert render_template("{{ .Prompt }}" * times, prompt="x" * length) == "x" * length * times


@pytest.mark.parametrize(("times", "length"), [(110, 10_000), (5, 2**20)])
def test_what_it_makes_is_about_as_long_as_what_came(times, length) -> None:
    with pytest.raises(InvalidField, match="characters"):
        render_template("{{ .Prompt }}" * times, prompt="x" * length)


def test_values_are_never_read_as_templates() -> None:
    assert render_template("{{ .Prompt }}{{ .Response }}", prompt="{{ .System }}") == "{{ .System }}"


@given(st.lists(st.sampled_from(["{{", "}}", "-", " ", "if", ".Prompt", "else", "end", ".Response", "x"])).map("".join))
def test_any_template_is_used_or_refused(template) -> None:
    try:
        written = render_template(template, prompt="p")
    except InvalidField:
        return
    assert "{{" not in written
