"""Name patterns: exactly what fnmatch.fnmatchcase says."""

from __future__ import annotations

import fnmatch

import hypothesis.strategies as st
from hypothesis import given

from bgpool_jupyter.engine.globs import matcher

TEXT = st.text("ab*?[]!-^\n.", max_size=8)


@given(pattern=TEXT, name=TEXT)
def test_the_meaning_of_fnmatchcase(pattern, name):
    assert bool(matcher(pattern)(name)) is fnmatch.fnmatchcase(name, pattern)
