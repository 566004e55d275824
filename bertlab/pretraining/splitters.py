"""From a text to its sentences: sentencex with corrections, every full stop, or every line."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import sentencex

from bertlab.errors import UserError

# ISO 639-1. sentencex takes any string for a language and treats what it does not know as English, so a
# misspelt code would pass in silence.
_ISO_639_1 = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de
dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id
ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu
lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu
rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr
ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
LANGUAGES = frozenset(_ISO_639_1.split())

# What sentencex is given at once: 1.2 million characters with 200,000 quotes never closed took it 64 s, in
# windows 3 s. No paragraph of 33 books is longer than this.
_WINDOW_CHARS = 1 << 16

# A form feed begins a page.
_BLANK_LINES = re.compile(r"\n\s*\n|\f")
# Spaces, and what prints nothing but is none to Python: zero-width spaces and joiners, the byte-order mark.
INVISIBLE = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200c\u200d\u2060\ufeff"
# The letters of the alphabets that have two cases, Greek and Cyrillic among them.
CAPITALS, SMALL_LETTERS = ("".join(filter(is_of, map(chr, range(0x2000)))) for is_of in (str.isupper, str.islower))

# sentencex ends a sentence here where none ends: after the number or letter of a list, or an initial.
_MARKER = re.compile(r"\W*(?:\d{1,3}|[^\W\d_]|[IVXLC]{1,6})[.)]")
# And here, by language: tested on the beginning and end of what it found, a newline, and the first character after it.
_PARTICLES = "とはがをのにでも"
_FALSE_ENDS = {
    "en": re.compile(r"\b(?:e\.g|i\.e)\.\n|^\W*(?i:chapter|part|book|section) (?:\d+|[IVXLC]+)\.\n"),
    "de": re.compile(
        r"\b(?:[Dd](?:ie|er|as|en|em|es)|[IiAa]m|[Vv]om|[Zz]u[mr]) \d{1,3}\.\n|[a-zß]{3}\. \d{1,2}\.\n|\bFa\.\n"
    ),
    "fr": re.compile(r"\b(?:[A-Z]|MM|Dr|Pr|no|av)\.\n"),
    "zh": re.compile(r"[。！？]\d{1,2}\.\n|^[“「『《].*[”」』》]\n[^“「『《（]"),
    "ja": re.compile(rf"[。！？]\d{{1,2}}\.\n|[」』]\n[{_PARTICLES}]|\n[」』]"),
}
_ENDING_CHARS = 24
# Where a sentence ends and sentencex sees none: after a closing bracket, a number of a list before the next, and words
# that it takes for abbreviations in any case (Me. for Maine, Art. for article).
_WORDS = ("me", "no", "may", "ill", "art", "miss", "fed", "ark", "ore", "mar", "arc", "con", "ken", "brig")
_AFTER_WORDS = "|".join(rf"(?<=\b{word}\. )" for word in _WORDS)
_BRACKET, _BRACKET_CJK = rf" (?=[{CAPITALS}])(?<=[.!?]\) )", r"(?<=[。！？]）)(?=.)|(?<=[。！？])(?=\d{1,2}\.)"
_MISSED_ENDS = {
    "en": re.compile(rf" (?=[A-Z\"“])(?:{_AFTER_WORDS})|{_BRACKET}"),
    "de": re.compile(rf" (?=\d{{1,2}}\. [A-ZÄÖÜ])(?<=[a-zß]{{3}}\. )|{_BRACKET}"),
    "zh": re.compile(_BRACKET_CJK),
    "ja": re.compile(rf"(?![{_PARTICLES}])(?:{_BRACKET_CJK})"),
}
_MISSED_END = re.compile(_BRACKET)


def sentence_splitter(splitter: str, language: str = "en") -> Callable[[str], list[str]]:
    """Return the function from a text to its sentences in order, none of them blank.

    `sentencex` follows the rules of the language, or those of a related one or of English where it has none, and what
    it often gets wrong is corrected. `period` splits at every full stop, which is dropped with the pieces that are
    blank. `line` takes each line as a sentence. With the other two the lines of a paragraph are joined, and no sentence
    crosses a blank line. Line ends, tabs and runs of spaces become one space.

    Raises:
        UserError: an unknown language.

    Source: https://github.com/wikimedia/sentencex for `sentencex`.
    """
    if splitter == "line":
        return _split_lines
    if splitter == "period":
        return _split_periods
    code = language.strip().casefold().replace("_", "-")
    if _base(code) not in LANGUAGES:
        raise UserError(f"the language {language!r} is unknown.", "Give a two-letter code, such as en, de, fr or zh.")
    return functools.partial(_split_sentencex, code)


def _split_lines(text: str) -> list[str]:
    return _stripped(_single_spaced(line) for line in text.split("\n"))


def _split_periods(text: str) -> list[str]:
    return _stripped(piece for paragraph in _paragraphs(text) for piece in paragraph.split("."))


def _split_sentencex(language: str, text: str) -> list[str]:
    found = (_corrected(_base(language), _segments(language, paragraph)) for paragraph in _paragraphs(text))
    return _stripped(sentence for sentences in found for sentence in sentences)


def _base(language: str) -> str:
    return language.split("-")[0]


def _corrected(language: str, pieces: Sequence[str]) -> Iterator[str]:
    """Yield the sentences of a paragraph: the pieces that sentencex made of it, joined and parted where it errs."""
    false_end, missed_end = _FALSE_ENDS.get(language), _MISSED_ENDS.get(language, _MISSED_END)
    sentence = ""
    for piece, following in zip(pieces, [*pieces[1:], ""], strict=False):
        sentence += piece
        if not following or not _is_false_end(false_end, piece.strip(), following):
            # To look for these first takes a tenth of the time.
            inside = sentence.rstrip()[:-1]
            has_place = ". " in inside or ") " in inside or "）" in inside or "。" in inside
            yield from missed_end.split(sentence) if has_place else (sentence,)
            sentence = ""


def _is_false_end(pattern: re.Pattern[str] | None, piece: str, following: str) -> bool:
    if len(piece) < 8 and _MARKER.fullmatch(piece):
        return True
    if pattern is None:
        return False
    ending = piece if len(piece) <= _ENDING_CHARS else piece[0] + piece[-_ENDING_CHARS:]
    return bool(pattern.search(f"{ending}\n{following[0]}"))


def _segments(language: str, paragraph: str) -> list[str]:
    """Return what sentencex makes of a paragraph, given to it in windows when it is long.

    The last sentence of a window is given again at the start of the next, so that no window ends a sentence.
    """
    sentences: list[str] = []
    start, size = 0, _WINDOW_CHARS
    while start + size < len(paragraph):
        *whole, last = sentencex.segment(language, paragraph[start : start + size])
        sentences += whole
        # Without a sentence end in the window, only a longer one can find it.
        start, size = (start + size - len(last), _WINDOW_CHARS) if whole else (start, 2 * size)
    return [*sentences, *sentencex.segment(language, paragraph[start:])]


def _paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text, each on one line.

    Joined first, the lines of a hard-wrapped paragraph are split as if it had never been wrapped.
    """
    return [_single_spaced(paragraph) for paragraph in _BLANK_LINES.split(text)]


def _single_spaced(text: str) -> str:
    """Return a text with line ends, tabs and runs of spaces as one space; faster than split and join."""
    text = text.replace("\n", " ").replace("\t", " ")
    while "  " in text:
        text = text.replace("  ", " ")
    return text


def _stripped(pieces: Iterable[str]) -> list[str]:
    return [sentence for piece in pieces if (sentence := piece.strip(INVISIBLE))]
