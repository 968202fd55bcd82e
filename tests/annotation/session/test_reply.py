"""What comes from outside is stored as it is, or refused."""

import math
from typing import Any

import pytest

from annotation.session.reply import MAX_COMMENT_LENGTH, CheckedReply, Reply, check
from core.errors import RatingError

DURATION_S = 10.0


def test_a_good_reply() -> None:
    reply = Reply(5, 1, "<b>fine</b> =1+1", [[0, 4.5], [2.0, 10.4]])
    assert check(reply, DURATION_S) == CheckedReply(
        {"musical_impression": 5, "textual_alignment": 1},
        "<b>fine</b> =1+1",
        [[0.0, 4.5], [2.0, 10.4]],
        12.9,
    )
    assert check(Reply(1, 1), DURATION_S) == CheckedReply(
        {"musical_impression": 1, "textual_alignment": 1}, "", [], 0.0
    )


@pytest.mark.parametrize(
    "score", [0, 6, -1, 10**400, 3.0, 2.5, math.nan, math.inf, "five", "3", "", None, True, [3], {}, b"3"]
)
def test_made_up_scores_are_refused(score: object) -> None:
    with pytest.raises(RatingError, match="Musical impression must be a whole number from 1 to 5"):
        check(Reply(score, 3), DURATION_S)
    with pytest.raises(RatingError, match="Textual alignment must be a whole number from 1 to 5"):
        check(Reply(3, score), DURATION_S)


@pytest.mark.parametrize("comment", [None, 3, ["a"], "a" * (MAX_COMMENT_LENGTH + 1), "half \ud83c", b"a"])
def test_comments_that_cannot_be_stored_are_refused(comment: object) -> None:
    with pytest.raises(RatingError, match="The comment"):
        check(Reply(3, 3, comment), DURATION_S)


def test_the_longest_comment_is_kept() -> None:
    comment = "🎵" * MAX_COMMENT_LENGTH
    assert check(Reply(3, 3, comment), DURATION_S).comment == comment


@pytest.mark.parametrize(
    "played",
    [
        None,
        "played",
        {"0": 1},
        3,
        [3],
        [[]],
        [[1]],
        [[1, 2, 3]],
        [["0", "1"]],
        [[None, 1]],
        [[2, 1]],
        [[-0.1, 1]],
        [[0, 11.1]],
        [[0, math.nan]],
        [[math.nan, 1]],
        [[0, math.inf]],
        [[0, 10**400]],
        [[0, 1]] * 1001,
    ],
)
def test_stretches_that_cannot_be_are_refused(played: Any) -> None:
    with pytest.raises(RatingError, match="played"):
        check(Reply(3, 3, "", played), DURATION_S)
