"""The six words with a meaning, in any case of A-Z; every other word is alive."""

from __future__ import annotations

import pytest

from medic.core.heartbeat_words import kind_of, shared_word
from medic.core.status import HeartbeatStatus


@pytest.mark.parametrize("kind", [kind for kind in HeartbeatStatus if kind is not HeartbeatStatus.OTHER])
def test_a_word_means_the_same_in_any_case(kind):
    for word in (kind.value, kind.value.lower(), kind.value.title(), kind.value[0].lower() + kind.value[1:]):
        assert kind_of(word) is kind


@pytest.mark.parametrize("word", ["OTHER", "", "UP ", "uр", "ſtarted", "ＵＰ", "running", "DOWNN", "compléted"])
def test_any_other_word_is_other(word):
    assert kind_of(word) is HeartbeatStatus.OTHER


@pytest.mark.parametrize("word", ["UP", "up", "Up", "COMPLETED", "uP", "step 3"])
def test_a_shared_word_is_the_same_word(word):
    assert shared_word(word) == word
