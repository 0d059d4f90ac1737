"""markdown-it's block rules, tried only where a block of theirs can begin.

Each line is offered to a dozen rules, of which nearly all look at its first character and decline. Here a table by that
character chooses among them; the blocks are the same.
"""

from markdown_it import MarkdownIt
from markdown_it.parser_block import RuleFuncBlockType
from markdown_it.ruler import Ruler
from markdown_it.rules_block import (
    StateBlock,
    blockquote,
    fence,
    heading,
    hr,
    html_block,
    lheading,
    list_block,
)
from mdit_py_plugins.footnote.index import footnote_def

# What a block of a rule begins with, behind the indentation. A rule that is not here may begin with any character.
_FIRST_CHARACTERS: dict[RuleFuncBlockType, str] = {
    fence: "`~",
    blockquote: ">",
    hr: "*-_",
    list_block: "*-+0123456789",
    html_block: "<",
    heading: "#",
    footnote_def: "[",
}
_CHARACTERS = {*"".join(_FIRST_CHARACTERS.values())}
_CHAINS = ("", "paragraph", "reference", "blockquote", "list")


class _FirstCharacterRuler(Ruler[RuleFuncBlockType]):
    """Has one rule per chain, which chooses among those of another ruler."""

    def __init__(self, ruler: Ruler[RuleFuncBlockType]) -> None:
        super().__init__()
        self._active = ruler.get_active_rules()
        self._chains = {chain: [_choice(ruler.getRules(chain))] for chain in _CHAINS}

    def getRules(self, chainName: str = "") -> list[RuleFuncBlockType]:
        return self._chains[chainName]

    def get_active_rules(self) -> list[str]:
        return self._active


def try_rules_by_first_character(parser: MarkdownIt) -> MarkdownIt:
    """Speed up a parser of which all rules are chosen."""
    parser.block.ruler.at("lheading", _underlined_heading)
    parser.block.ruler = _FirstCharacterRuler(parser.block.ruler)
    return parser


def _choice(rules: list[RuleFuncBlockType]) -> RuleFuncBlockType:
    """The first of some rules that matches, as one rule."""
    by_character = {
        character: tuple(
            rule
            for rule in rules
            if rule not in _FIRST_CHARACTERS or character in _FIRST_CHARACTERS[rule]
        )
        for character in _CHARACTERS
    }
    others = tuple(rule for rule in rules if rule not in _FIRST_CHARACTERS)

    def first_match(
        state: StateBlock, start_line: int, end_line: int, silent: bool
    ) -> bool:
        position = state.bMarks[start_line] + state.tShift[start_line]
        character = state.src[position : position + 1]
        candidates = by_character.get(character, others)
        # A generator for `any` would cost as much as a rule.
        for rule in candidates:  # noqa: SIM110
            if rule(state, start_line, end_line, silent):
                return True
        return False

    return first_match


def _underlined_heading(
    state: StateBlock, start_line: int, end_line: int, silent: bool
) -> bool:
    """The rule for such headings, where one of the lines up to the next empty one may be the underline."""
    first = start_line + 1
    for line in range(first, end_line):
        indentation = state.tShift[line]
        position = state.bMarks[line] + indentation
        end = state.eMarks[line]
        is_empty = position >= end
        if is_empty:
            return False
        character = state.src[position]
        if character in "-=":
            return lheading(state, start_line, end_line, silent)
    return False
