"""Files, pictures and pasted texts in a chat: what fits, and as what it is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bodhi_jupyter.notebook.attach import MAX_KEPT, MAX_TEXT
from tests.notebook.node import run
from tests.notebook.pages import FILES, Play, player


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return player(tmp_path)


# -- how much the chats can hold ----------------------------------------------------------------------------------


def test_it_is_as_much_as_the_kernel_attaches(tmp_path):
    assert run("files.js", "tell(MAX_TEXT); tell(MAX_KEPT);", tmp_path) == [MAX_TEXT, MAX_KEPT]


def test_more_than_a_message_to_the_kernel_can_hold_is_not_attached(play):
    names, notice, kept = play(
        FILES,
        "await chat.composer.attach([photo(3, 'one.jpg'), photo(4, 'two.jpg')]);",
        "tell(attached()); tell(notice()); tell(JSON.stringify(model.saved).length < 10 * 2 ** 20);",
    )
    assert names == ["one.jpg"]
    assert notice.startswith("two.jpg does not fit: all chats together hold 8 MB.")
    assert kept is True


def test_chats_that_are_put_aside_count_too(play):
    names = play(
        FILES,
        "await chat.composer.attach([photo(4)]); await ask('look'); await answer('Yes.'); session.chats.begin();",
        "await chat.composer.attach([photo(3)]); tell(attached()); session.chats.remove(); session.chats.remove();",
        "await chat.composer.attach([photo(3)]); tell(attached());",
    )
    assert names == [[], ["photo.jpg"]]


def test_what_is_too_much_is_not_sent_and_stays_in_the_field(play):
    asked, written, notice = play(
        FILES,
        "model.set('messages', [{ role: 'user', content: 'x'.repeat(9 * 2 ** 20) }]); await ask('more');",
        "tell(model.asked().length); tell(area.value); tell(notice());",
    )
    assert (asked, written) == (0, "more")
    assert notice.startswith("Nothing was sent. All chats together hold 8 MB")


@pytest.mark.parametrize("go", ["session.clear()", "session.chats.remove()"], ids=["cleared", "deleted"])
def test_undo_brings_back_no_more_than_there_is_room_for(play, go):
    full, notice, back = play(
        FILES,
        "await chat.composer.attach([photo(4)]); await ask('look'); await answer('Yes.');",
        f"{go}; await chat.composer.attach([photo(3)]); button('Undo').click(); tell(texts()); tell(notice());",
        "session.set({ attachments: [] }); button('Undo').click(); tell(texts());",
    )
    assert (full, back) == ([], ["look", "Yes."])
    assert notice.startswith("All chats together hold 8 MB")


#: Pictures of 4000 pixels; what is drawn of them is `made`, whatever its type.
CANVAS = """
const drawn = [];
let made = "small";
globalThis.createImageBitmap = async () => ({ width: 4000, height: 3000 });
globalThis.OffscreenCanvas = class {
  constructor(...size) { drawn.push(size); }
  getContext() { return { drawImage() {}, fillRect() {} }; }
  async convertToBlob({ type }) { return new Blob([made], { type }); }
};
"""


def test_what_is_refused_is_what_a_picture_would_be_kept_as(play):
    names, notice = play(
        FILES,
        CANVAS,
        "await chat.composer.attach([photo(12, 'photo.jpg')]);",
        "globalThis.createImageBitmap = async () => { throw new Error('This is no picture.'); };",
        "await chat.composer.attach([photo(12, 'no-picture.jpg')]); tell(attached()); tell(notice());",
    )
    assert (names, notice) == (["photo.jpg"], "no-picture.jpg is larger than 10 MB.")


def test_a_large_picture_is_made_smaller_and_a_small_one_stays(play):
    drawn, sizes = play(
        FILES,
        CANVAS,
        "await chat.composer.attach([photo(9), photo(1)]);",
        "tell(drawn); tell(session.get('attachments').map(({ url }) => url.length));",
    )
    assert drawn == [[2048, 1536]]
    assert sizes[0] < 100
    assert sizes[1] > 2**20


@pytest.mark.parametrize(
    ("given", "kept"), [("webp", "jpeg"), ("avif", "jpeg"), ("jpeg", "jpeg"), ("png", "png")], ids=lambda kind: kind
)
def test_a_picture_is_kept_as_what_it_takes_least_room_as(play, given, kept):
    shrunk, large = play(
        FILES,
        CANVAS,
        f"const file = new File([new Uint8Array(3 * 2 ** 19)], 'x', {{ type: 'image/{given}' }});",
        "made = 'x'.repeat(2 ** 20); await chat.composer.attach([file]);",
        "made = 'x'.repeat(2 ** 21); await chat.composer.attach([file]);",
        "for (const { url } of session.get('attachments')) tell([url.split(';')[0], url.length]);",
    )
    assert shrunk[0] == f"data:image/{kept}"
    # What would have grown stays as it was.
    assert large[0] == f"data:image/{given}"
    assert large[1] < 2**21 * 4 / 3


# -- reading ------------------------------------------------------------------------------------------------------


def test_a_file_that_is_still_being_read_goes_with_the_message(play):
    sent, left = play(
        FILES,
        "let found; const file = photo(1); const data = file.arrayBuffer();",
        "file.arrayBuffer = () => new Promise((resolve) => (found = () => resolve(data)));",
        "chat.composer.attach([file]); await ask('look'); tell(model.asked().length); found(); await settle();",
        "given[0] = [given[0], last().body.messages[0].content.map(({ type }) => type)];",
        "tell(session.get('attachments').length);",
    )
    assert sent == [0, ["text", "image_url"]]
    assert left == 0


def test_nothing_is_sent_without_a_file_that_cannot_be_read(play):
    sent, written, notice, after = play(
        FILES,
        "let found; const file = new File(['x'.repeat(600 * 1024)], 'long.txt', { type: 'text/plain' });",
        "const other = photo(1); const data = other.arrayBuffer();",
        "other.arrayBuffer = () => new Promise((resolve) => (found = () => resolve(data)));",
        "chat.composer.attach([file, other]); await ask('what is in it?'); found(); await settle();",
        "tell(model.asked().length); tell(area.value); tell(notice());",
        # Whoever sends now has seen it.
        "await ask('what is in it?'); tell(model.asked().length);",
    )
    assert (sent, written, after) == (0, "what is in it?", 1)
    assert notice == "long.txt is larger than 512 KB."


# -- pasting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("types", "is_attached"),
    [
        (["text/plain", "text/html", "text/rtf", "Files"], False),
        (["text/html", "Files"], True),
        (["text/plain", "Files"], True),
        (["Files"], True),
    ],
    ids=["cells", "a picture of a page", "a file and its name", "a screenshot"],
)
def test_a_picture_of_a_text_is_not_attached_in_its_place(play, types, is_attached):
    prevented, names = play(
        FILES,
        f"const clipboardData = {{ types: {json.dumps(types)}, files: [photo(1)] }};",
        "const event_ = area.dispatch('paste', { clipboardData }); await settle(); await settle();",
        "tell(event_.isPrevented); tell(attached());",
    )
    assert prevented is is_attached
    assert names == (["photo.jpg"] if is_attached else [])
