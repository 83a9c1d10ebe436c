"""Each story comes out as it is written."""

from __future__ import annotations

import pytest

from tests.stories.transcript import Story, stories


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_the_story_comes_out_as_it_is_written(path):
    written = path.read_text(encoding="utf-8")
    assert Story.read(written).run() == written


def test_there_are_stories():
    assert len(stories()) >= 8
