"""What photographers read."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.factories import PROPERTY
from watcher.inspection import RefusalCode
from watcher.notes import REASONS, note_text

JOURNEYS_OWN = {"incomplete", "refused_by_service", "foreign_sidecar", "name_too_long"}


def test_every_reason_to_reject_has_its_words() -> None:
    assert set(REASONS) == {*get_args(RefusalCode), *JOURNEYS_OWN}


@pytest.mark.parametrize("reason", REASONS)
def test_a_note_says_why_with_the_numbers_and_what_to_do(reason: str) -> None:
    text = note_text(reason, "12000 x 800 pixels")
    why, remedy = text.split("\n\n")
    assert why.startswith("Why: ")
    assert "12000 x 800 pixels" in " ".join(why.split())
    assert remedy.startswith("What to do: ")
    assert remedy.endswith(".")
    assert max(map(len, text.splitlines())) <= 78


@given(reason=st.sampled_from(sorted(REASONS)), found=st.text(max_size=200))
@PROPERTY
def test_whatever_was_found_is_told_as_it_is(reason: str, found: str) -> None:
    text = note_text(reason, found)
    assert "".join(found.split()) in "".join(text.split())
    assert text.count("\n\n") == 1


def test_a_foreign_file_is_not_all_that_is_to_go() -> None:
    text = " ".join(note_text("foreign_sidecar", "another file").split())
    assert "move or delete it, and then delete this note" in text
    assert "`autoretouch-watcher retry`" in text


def test_the_limits_are_told() -> None:
    assert "at most 10,000" in " ".join(note_text("too_large", "12000 x 800 pixels").split())


def test_braces_in_what_the_service_says_are_only_text() -> None:
    assert "{found} {0} {x!r}" in note_text("refused_by_service", "{found} {0} {x!r}")
