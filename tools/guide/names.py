"""Names of cities that do not exist: who is asked about them can only copy them."""

from __future__ import annotations

import random
from collections.abc import Sequence

#: Of names: those that repeat a word, and as many that repeat how one ends.
_REPEATING = 0.12
#: What joins words, and what these are made of.
_JOINTS = (" ",) * 12 + ("-",) * 5 + (" de ", " del ", "-on-", "-sur-", " am ", "-le-", "-les-", " upon ", "-la-")
_ONSETS = ("b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "ch", "st", "tr", "")
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS = ("", "", "n", "r", "s", "l", "m", "ck", "nd", "lt")
#: Of words, those that are made of what is seldom.
_SELDOM = 0.4
_SELDOM_ONSETS = ("c", "j", "z", "y", "qu", "x", "th", "sh", "cr", "gl", "br", "sw", "pr", "w", "g", "s", "l", "")
_SELDOM_VOWELS = ("a", "e", "o", "y", "ai", "au", "ou", "ea", "oa", "ie", "oo", "ei", "eu", "ay")
_SELDOM_CODAS = ("", "x", "y", "z", "th", "st", "rt", "ng", "ss", "lt", "c", "t", "d", "gh", "w", "ff")
#: Of names of several words, those with a short one that ends with a point.
_POINTED = 0.1


def unheard_of(rng: random.Random) -> str:
    """A name that nobody knows: of one word or several. A word, or how one ends, may be repeated."""
    words = [_word(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
    if rng.random() < _REPEATING:
        words.append(rng.choice(words))
    elif rng.random() < _REPEATING:
        words[0] += words[0][-2:].lower() + rng.choice(("", "n", "to", "la", "ra"))
    if len(words) > 1 and rng.random() < _POINTED:
        words.insert(rng.randrange(len(words)), words.pop()[: rng.choice((2, 2, 3))] + ".")
        return " ".join(words)
    return rng.choice(_JOINTS).join(words)


def _word(rng: random.Random) -> str:
    if rng.random() < _SELDOM:
        return _made(rng, _SELDOM_ONSETS, _SELDOM_VOWELS, _SELDOM_CODAS)
    return _made(rng, _ONSETS, _VOWELS, _CODAS)


def _made(rng: random.Random, *parts: Sequence[str]) -> str:
    syllables = ("".join(rng.choice(part) for part in parts) for _ in range(rng.choice((1, 2, 2, 3))))
    return "".join(syllables).capitalize()


def usual(rng: random.Random) -> str:
    """A name of usual syllables."""
    return rng.choice((" ", " ", " ", "-")).join(
        _made(rng, _ONSETS, _VOWELS, _CODAS) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))
    )
