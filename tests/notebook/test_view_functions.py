"""Functions that a model calls, as the chat in the browser has them run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.sessions import ASK, CALL, Play, player


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return player(tmp_path)


def test_a_function_that_runs_can_be_stopped_and_the_model_is_told_the_truth(play):
    busy, kinds, messages, asked, saved = play(
        CALL,
        "session.toolRuns.run(call); await settle(); tell(session.isBusy); session.stop();",
        "model.answer(model.asked('run_tool')[0], { content: 'too late' }); await settle();",
        "tell(model.sent.slice(-2).map(({ kind }) => kind)); tell(session.messages); tell(model.asked().length);",
        "tell(model.saved.messages);",
    )
    assert busy is True
    assert kinds == ["run_tool", "cancel"]
    assert messages == saved
    assert messages[-1] == {
        "role": "tool",
        "tool_call_id": "c1",
        "content": "The user stopped this; it may have run in part.",
    }
    # Who stops it does not want the model to go on.
    assert asked == 1


def test_calls_are_whole_whatever_number_they_begin_with(play):
    calls, names = play(
        ASK,
        "const piece = (index, name) => event({ choices: [{ index: 0, delta: { tool_calls:",
        "  [{ index, id: `c${index}`, function: { name, arguments: '{' } }] } }] });",
        "model.chunk(last(), piece(3, 'b') + piece(1, 'a') + piece(3, 'c') + DONE); model.end(last()); await settle();",
        "tell(session.messages[1].tool_calls.length);",
        "tell(session.messages[1].tool_calls.map((call) => call.function.name + call.function.arguments));",
    )
    assert (calls, names) == (2, ["a{", "bc{{"])


@pytest.mark.parametrize("given", ["undefined", '""'])
def test_calls_without_ids_are_run_one_by_one(play, given):
    first, asked, sent = play(
        ASK,
        "const piece = (index) => event({ choices: [{ index: 0, delta: { tool_calls:",
        f"  [{{ index, id: {given}, function: {{ name: `f${{index}}`, arguments: '{{}}' }} }}] }} }}] }});",
        "model.chunk(last(), piece(0) + piece(1) + DONE); model.end(last()); await settle();",
        "const run = async (call) => {",
        "  session.toolRuns.run(call); await settle();",
        "  model.answer(model.asked('run_tool').at(-1), { content: call.function.name }); await settle();",
        "};",
        "await run(openCalls(session.messages)[0]);",
        "tell(openCalls(session.messages).map((call) => call.function.name)); tell(model.asked().length);",
        "await run(openCalls(session.messages)[0]); tell(last().body.messages.slice(1));",
    )
    assert (first, asked) == (["f1"], 1)
    calls, *results = sent
    ids = [call["id"] for call in calls["tool_calls"]]
    assert len(set(ids)) == 2
    assert all(ids)
    assert [(result["tool_call_id"], result["content"]) for result in results] == list(
        zip(ids, ["f0", "f1"], strict=True)
    )


def test_who_writes_on_while_a_function_runs_has_not_refused_it(play):
    sent = play(
        CALL,
        "session.toolRuns.run(call); await settle(); session.send('never mind'); await settle();",
        "tell(last().body.messages.slice(2));",
    )
    assert sent == [
        {"role": "tool", "tool_call_id": "c1", "content": "The user stopped this; it may have run in part."},
        {"role": "user", "content": "never mind"},
    ]


def test_what_a_function_gives_goes_back_to_the_model(play):
    busy, sent = play(
        CALL,
        "session.toolRuns.run(call); await settle();",
        "model.answer(model.asked('run_tool')[0], { content: 'found' }); await settle();",
        "tell(session.toolRuns.running.size); tell(last().body.messages.at(-1));",
    )
    assert busy == 0
    assert sent == {"role": "tool", "tool_call_id": "c1", "content": "found"}


@pytest.mark.parametrize("how", ["session.regenerate(session.messages.at(-1))", "session.retry()"])
def test_another_answer_to_what_a_function_gave_needs_no_second_run_of_it(play, how):
    asked, sent, runs = play(
        CALL,
        "session.toolRuns.run(call); await settle();",
        "model.answer(model.asked('run_tool')[0], { content: 'found' }); await settle();",
        "model.chunk(last(), delta('It is')); model.end(last()); await settle();",
        f"{how}; await settle();",
        "tell(roles(session.messages)); tell(roles(last().body.messages)); tell(model.asked('run_tool').length);",
    )
    assert asked == ["user", "assistant", "tool", "assistant"]
    assert sent == ["user", "assistant", "tool"]
    assert runs == 1


def test_another_answer_in_place_of_a_call_goes_back_to_the_question(play):
    sent = play(
        CALL,
        "session.toolRuns.run(call); await settle();",
        "model.answer(model.asked('run_tool')[0], { content: 'found' }); await settle();",
        "session.regenerate(session.messages[1]); await settle(); tell(roles(last().body.messages));",
    )
    assert sent == ["user"]
