"""Redis's protocol, as Medic asks and hears it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic.store.redis.wire import ANSWER_BYTES_MAX, Answers, RedisReplyError, RedisUnavailableError, Reply, encode

SAID = b"+OK\r\n*2\r\n:12\r\n:-60000000\r\n$-1\r\n$4\r\n\xc3\xa9\r\n\r\n$2\r\n\xff\xfe\r\n*2\r\n-OOM no\r\n*0\r\n"
MEANT = ["OK", [12, -60_000_000], None, "é\r\n", "��"]


def heard(answers: Answers) -> list[Reply]:
    replies = []
    while (answer := answers.next_nowait()) is not None:
        replies.append(answer[0])
    return replies


def test_a_request_is_an_array_of_strings() -> None:
    assert encode("SET", "é", 12) == b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xa9\r\n$2\r\n12\r\n"


@given(st.sets(st.integers(1, len(SAID) - 1)))
def test_answers_mean_the_same_wherever_their_bytes_are_cut(cuts: set[int]) -> None:
    answers, replies = Answers(), []
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(SAID)], strict=True):
        answers.feed(SAID[begin:end])
        replies += heard(answers)
    *plain, last = replies
    assert plain == MEANT
    match last:
        case [RedisReplyError(code="OOM"), []]:
            pass
        case _:
            raise AssertionError(last)


@given(st.integers(1, 14))
def test_room_is_made_for_no_more_elements_than_any_answer_has(cut: int) -> None:
    announced = b"*2147483647\r\n:1\r\n"
    answers = Answers()
    refused = ""
    for piece in (announced[:cut], announced[cut:]):
        try:
            answers.feed(piece)
        except RedisUnavailableError as error:
            refused = error.reason
            break
        assert heard(answers) == []
    assert refused == "it says more than was asked"


def test_no_more_is_kept_than_any_answer_has() -> None:
    answers = Answers()
    answers.feed(b"$%d\r\n" % (2 * ANSWER_BYTES_MAX))
    with pytest.raises(RedisUnavailableError, match="more than was asked"):
        answers.feed(bytes(ANSWER_BYTES_MAX))


@pytest.mark.parametrize("said", [b"HTTP/1.1 400\r\n", b":twelve\r\n", b"*1\r\n" * 10_000, b"$-2\r\n"])
def test_what_is_not_the_protocol_is_said_to_be_none(said: bytes) -> None:
    answers = Answers()
    answers.feed(said)
    with pytest.raises(RedisUnavailableError, match="not Redis"):
        answers.next_nowait()


@pytest.mark.parametrize(
    ("said", "code", "refuses_all"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS", True),
        ("ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM not allowed", "OOM", True),
        ("ERR wrong number of arguments", "ERR", False),
        ("NOPERM this user has no permissions to access one of the keys used as arguments", "NOPERM", False),
        ("MOVED 7365 192.0.2.1:6379", "MOVED", False),
    ],
)
def test_a_refusal_is_known_by_its_code(said: str, code: str, *, refuses_all: bool) -> None:
    refusal = RedisReplyError(said)
    assert (refusal.code, refusal.refuses_all) == (code, refuses_all)
