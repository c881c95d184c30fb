from __future__ import annotations

import re

import pytest

from bodhi_jupyter.access.keys import FOREIGN_KEYS, KeyRing, looks_foreign
from bodhi_jupyter.wire.scoped_key import PREFIX


def test_a_minted_key_tells_its_holder() -> None:
    ring = KeyRing()
    key = ring.mint("kernel:abc")
    assert re.fullmatch(r"bodhi-[A-Za-z0-9_-]{43}", key)
    holder = ring.verify(key)
    assert holder is not None
    assert holder.holder == "kernel:abc"


def test_every_start_of_the_same_holder_has_its_own_key() -> None:
    ring = KeyRing()
    first, second = ring.mint("kernel:abc"), ring.mint("kernel:abc")
    assert first != second
    ring.revoke(first)
    assert ring.verify(first) is None
    assert ring.verify(second) is not None


@pytest.mark.parametrize("guess", ["", "bodhi-", "bodhi-" + "A" * 43, "clé", "\udcff", "bodhi-\x00"])
def test_what_was_never_minted_opens_nothing(guess: str) -> None:
    ring = KeyRing()
    ring.mint("kernel:abc")
    assert ring.verify(guess) is None


def test_almost_the_key_opens_nothing() -> None:
    ring = KeyRing()
    key = ring.mint("kernel:abc")
    for near in (key[:-1], key + "A", key.removeprefix(PREFIX), key.swapcase(), f" {key}", f"Bearer {key}"):
        assert ring.verify(near) is None


def test_revoking_is_idempotent_and_shrugs_at_strangers() -> None:
    ring = KeyRing()
    key = ring.mint("terminal:1")
    ring.revoke("bodhi-unknown")
    ring.revoke(key)
    ring.revoke(key)
    assert ring.verify(key) is None


def test_the_ring_does_not_keep_the_keys_themselves() -> None:
    ring = KeyRing()
    key = ring.mint("kernel:abc")
    assert key.removeprefix(PREFIX) not in repr(vars(ring))


@pytest.mark.parametrize(
    ("key", "provider", "unset"),
    [
        ("sk-ant-api03-" + "x" * 60, "Anthropic", "unset ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN"),
        ("sk-or-v1-" + "0" * 64, "OpenRouter", "unset OPENAI_API_KEY"),
        ("sk-proj-" + "x" * 60, "OpenAI", "unset OPENAI_API_KEY"),
        ("sk-" + "x" * 48, "OpenAI", "unset OPENAI_API_KEY"),
        ("gsk_" + "x" * 52, "Groq", "unset OPENAI_API_KEY"),
        ("hf_" + "x" * 34, "Hugging Face", "unset OPENAI_API_KEY"),
        ("AIza" + "x" * 35, "Google", "unset OPENAI_API_KEY"),
        ("xai-" + "x" * 80, "xAI", "unset OPENAI_API_KEY"),
        ("github_pat_" + "x" * 60, "GitHub", "unset OPENAI_API_KEY"),
    ],
)
def test_another_providers_key_is_recognised_and_never_repeated(key: str, provider: str, unset: str) -> None:
    foreign = looks_foreign(key)
    assert foreign is not None
    assert foreign.provider == provider
    advice = foreign.advice()
    assert f"a key for {provider}," in advice
    assert unset in advice
    assert foreign.base_url_variable in advice
    assert key not in advice


@pytest.mark.parametrize("key", ["", "EMPTY", "ollama", "sk-no-key-required", "sk-1234", "0123456789abcdef" * 3])
def test_placeholders_and_jupyter_tokens_are_nobodys(key: str) -> None:
    assert looks_foreign(key) is None


def test_our_own_keys_are_not_foreign() -> None:
    assert looks_foreign(KeyRing().mint("kernel:abc")) is None


def test_no_shape_is_hidden_behind_a_more_general_one() -> None:
    for index, foreign in enumerate(FOREIGN_KEYS):
        for prefix in foreign.prefixes:
            assert not any(prefix.startswith(earlier.prefixes) for earlier in FOREIGN_KEYS[:index])
