"""Reading the INI text: what is read of a file without mistakes is what Python's own parser reads of it."""

from __future__ import annotations

import configparser

from hypothesis import example, given
from hypothesis import strategies as st

from plotfarm.base.config import loader, structure

SECTIONS = loader.schema()
KEYS = {key for keys in SECTIONS.values() for key in keys}
_PIECES = st.one_of(
    st.text(max_size=15),
    st.sampled_from(["[nas]", "[email]", "[a b]", "hosts = a", "Hosts=b # c", "x: y", " b", "\tc = d", "", "# c", "; c",
                     "a = b#c", "a =", "  # c", "links =", "  nas1: 10.0.0.1", "[", "]", "nas", "key", "= x", "\x0c",
                     "é = ü",
                     "a = ; b", "[x]#y", "[x] # y", "a = b ; c", "\r"]),
)  # fmt: skip


@given(st.lists(_PIECES, max_size=12))
@example(["[nas]", "hosts = a", "", "  b", "  # c", "  c"])
@example(["[nas]", "hosts =", "   a", " b", "c = d"])
def test_a_file_without_mistakes_is_read_as_pythons_own_parser_reads_it(lines):
    text = "\n".join(lines)
    found = structure.parse(text, SECTIONS, KEYS)
    parser = structure.new_parser()
    try:
        parser.read_string(text)
    except configparser.Error:
        assert found.mistakes, "what that parser refuses is a mistake here"
        return
    if not found.mistakes:
        values = {name: {key: value.text for key, value in keys.items()} for name, keys in found.values.items()}
        assert values == {name: dict(parser.items(name)) for name in parser.sections()}


@given(st.text())
def test_any_text_is_read_and_each_mistake_has_a_line_of_it(text):
    found = structure.parse(text, SECTIONS, KEYS)
    assert all(1 <= mistake.line <= text.count("\n") + 1 for mistake in found.mistakes)
    assert [mistake.line for mistake in found.mistakes] == sorted(mistake.line for mistake in found.mistakes)
