"""Nothing internal survives in what is shown of an engine's log."""

import pytest

from bodhi_jupyter.backends.engine_log import EngineLog


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("failed to open '/home/ann/my models/m.gguf' (No such file)", "failed to open 'm.gguf' (No such file)"),
        ("failed to load model from /srv/my models/m.gguf", "failed to load model from m.gguf"),
        (r"cannot open C:\Users\Ann\x.gguf now", "cannot open x.gguf now"),
        (r"cannot open 'C:\Users\Ann B\x.gguf'", "cannot open 'x.gguf'"),
        (r"cannot open \\server\share\x.gguf", "cannot open x.gguf"),
        ("cannot open /opt/lib/libfoo.so: no such file", "cannot open libfoo.so: no such file"),
        ("server is listening on http://127.0.0.1:8080 - starting", "server is listening on an address - starting"),
        ("couldn't bind, hostname: 127.0.0.1, port: 8080", "couldn't bind, hostname: 127.0.0.1, a port"),
        ("key is s3cret!", "key is ***!"),
        ("tokens/s: 3 and a/b stay", "tokens/s: 3 and a/b stay"),
    ],
)
def test_lines_are_cleaned(line: str, shown: str) -> None:
    log = EngineLog(["/srv/my models/m.gguf", "/srv/my models"], ["s3cret"])
    log.add(f"{line}\n")
    assert list(log.lines) == [shown]


def test_the_reason_is_the_first_error_of_a_load_and_the_last_of_a_life() -> None:
    log = EngineLog([], [])
    for line in (
        "0.00.003.202 W srv          init: a warning about failed things",
        "0.00.004.749 E gguf_init_from_reader: invalid magic characters: 'hell', expected 'GGUF'",
        "0.00.005.772 E cmn  common_init_: failed to load model 'x'",
        "0.00.005.789 I srv    load_model: goodbye",
    ):
        log.add(line)
    assert log.first_error() == "invalid magic characters: 'hell', expected 'GGUF'"
    assert log.last_error() == "failed to load model 'x'"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("error: unknown argument: --foo", "error: unknown argument: --foo"),
        ("llama_model_load: error loading model: no memory", "error loading model: no memory"),
        ("ModuleNotFoundError: No module named 'x'", "ModuleNotFoundError: No module named 'x'"),
        ("terminate called after throwing an instance", "terminate called after throwing an instance"),
    ],
)
def test_other_builds_write_other_prefixes(line: str, reason: str) -> None:
    log = EngineLog([], [])
    log.add("starting up")
    log.add(line)
    assert log.first_error() == reason


def test_no_complaint_is_no_reason() -> None:
    log = EngineLog([], [])
    log.add("all is well")
    assert log.first_error() is None
    assert log.last_error() is None


def test_only_the_end_is_kept() -> None:
    log = EngineLog([], [])
    for number in range(1000):
        log.add(f"line {number}")
    assert len(log.lines) < 100
    assert log.lines[-1] == "line 999"


@pytest.mark.parametrize("beginning", ["'/", "", "E "])
def test_of_a_long_line_the_beginning_is_kept(beginning: str) -> None:
    log = EngineLog(["/srv/m.gguf"], ["s3cret"])
    line = f"{beginning}/srv/m.gguf s3cret {'port' * 500}"
    log.add(line)
    (kept,) = log.lines
    assert "m.gguf ***" in kept
    assert kept.endswith("\u2026")
    assert len(kept) < 1100


def test_lines_that_come_while_a_reason_is_looked_for_harm_nobody() -> None:
    log = EngineLog([], [])
    log.add("an error")
    complaints = log._complaints()
    assert next(complaints) == "an error"
    log.add("another error")
    assert list(complaints) == []
