import re
import sys

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lina.core.errors import PluginError, TextError
from lina.core.protocols import Tokenizer, implements
from lina.tokenizers.english.emoticons import strip_emoticons
from lina.tokenizers.phonemes import INVENTORY, LONGEST_SENTENCE, Phonemes, PhonemesConfig, PhonemesTokenizer
from tests.tokenizers.streams import cuts, in_pieces, split

english = st.text(st.sampled_from("aeIoths't nrdMr.  .,;!?…—-()“”\"\n\n1290%$éΣ😀\u0301"), max_size=40)
sentences = st.lists(
    st.sampled_from(
        ["Mr. Lee read it.", " ", "I live ", "to record!", "In 1999, $5. ", "\n\n", "No? ", "yes", "."]
    ),
    max_size=8,
).map("".join)


@pytest.fixture(scope="module")
def tokenizer() -> PhonemesTokenizer:
    return Phonemes.build(**Phonemes.example())


def symbols_of(tokenizer: PhonemesTokenizer, text: str) -> str:
    return "".join(INVENTORY[one - 2] for one in tokenizer.parallel_forward(text)[1:-1])


@settings(max_examples=60, deadline=None)
@given(text=st.one_of(sentences, english), places=cuts)
def test_pieces_give_what_the_whole_gives(tokenizer: PhonemesTokenizer, text: str, places: list[int]) -> None:
    try:
        whole = tokenizer.parallel_forward(text)
    except TextError:
        with pytest.raises(TextError):
            in_pieces(tokenizer, split(text, places))
    else:
        assert in_pieces(tokenizer, split(text, places)) == whole


@pytest.mark.parametrize("text", ["so on and on, " * 100, "so on and on " * 100, "a, b " * 300, "a," * 450])
def test_text_without_an_end_is_cut_by_its_characters(tokenizer: PhonemesTokenizer, text: str) -> None:
    whole = tokenizer.parallel_forward(text)
    assert in_pieces(tokenizer, [text[i : i + 7] for i in range(0, len(text), 7)]) == whole
    state = tokenizer.initial_state()
    for piece in text:
        _, state = tokenizer.step(piece, state)
        assert state is not None
        assert len(state) <= LONGEST_SENTENCE


def test_it_is_a_tokenizer_and_no_pieces_are_the_empty_text(tokenizer: PhonemesTokenizer) -> None:
    assert implements(tokenizer, Tokenizer)
    assert (
        in_pieces(tokenizer, [])
        == in_pieces(tokenizer, ["", " "])
        == tokenizer.parallel_forward("")
        == [0, 1]
    )


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("Hello there.", "həlˈO ðˈɛɹ."),
        ("She read the book; I will read it too.", "ʃˌi ɹˈɛd ðə bˈʊk; ˌI wɪl ɹˈid ɪt tˈu."),
        ("Mr. Smith paid $3.50. Did he?", "mˈɪstəɹ smˈɪθ pˈAd θɹˈi dˈɑləɹz ænd fˈɪfti sˈɛnts. dˈɪd hi?"),
        ("A  café\nisn't free", "ɐ kæfˈA ˈɪzᵊnt fɹˈi"),
        ("Cafe\u0301 CAFÉ Ŏ Łód ŁOD", "kæfˈA kæfˈA ˈO lˈɑd lˈɑd"),
        ("50% off!  ", "fˈɪfti pəɹsˈɛnt ˈɔf!"),
        ("A", "ˈA"),
        ("A!", "ˈA!"),
        ("(I)", "(ˈI)"),
        ("Of", "ˈʌv"),
        ("The?", "ðˈə?"),
    ],
)
def test_golden_symbols(tokenizer: PhonemesTokenizer, text: str, symbols: str) -> None:
    assert symbols_of(tokenizer, text) == symbols


def test_golden_ids_which_trained_models_depend_on(tokenizer: PhonemesTokenizer) -> None:
    assert tokenizer.parallel_forward("Hi, you!") == [0, 22, 16, 46, 4, 2, 23, 53, 7, 1]
    assert tokenizer.vocab_size == len(set(INVENTORY)) + 2 == 68
    assert tokenizer.labels([0, 2, 16, 1]) == ["BEGIN", "␣", "ˈ", "END"]


@pytest.mark.parametrize("accent", ["american", "british"])
def test_the_inventory_holds_all_that_the_lexicons_have(accent: str) -> None:
    from hibari.g2p import G2P

    lexicon = G2P(british=accent == "british").lexicon
    readings = [r for d in (lexicon.golds.d, lexicon.silvers.d) for r in d.values()]
    sounds = {s for r in readings for one in (r.values() if isinstance(r, dict) else [r]) for s in one or ""}
    assert sounds - set("ɾʔ") <= set(INVENTORY)  # hibari writes these two as T and t


def test_accents_differ() -> None:
    british = Phonemes.build(config=PhonemesConfig(accent="british"))
    assert symbols_of(british, "Go there.") == "ɡˌQ ðˈɛː."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("你好", "U+4F60 CJK UNIFIED IDEOGRAPH-4F60"),
        ("привет", "U+043F CYRILLIC SMALL LETTER PE"),
        ("x\u030c\u200d", "U+030C COMBINING CARON"),
        ("nul\0", "U+0000 no name"),
        ("private \ue000", "U+E000"),
        ("say [hɛ7]", "phonemes '[hɛ7]' at character 4 of 'say [hɛ7]': '7' is no phoneme"),
        ("say [ˈ] now", "hold no sound"),
        ("say [həlO", "U+0259 LATIN SMALL LETTER SCHWA"),
        ("half \ud83d", "lone surrogate U+D83D"),
    ],
)
def test_dropped_characters_are_refused_by_name(
    tokenizer: PhonemesTokenizer, text: str, message: str
) -> None:
    with pytest.raises(TextError) as caught:
        tokenizer.parallel_forward(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(word=st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzéÀ"), min_size=1, max_size=24))
def test_every_word_has_sounds(tokenizer: PhonemesTokenizer, word: str) -> None:
    assume(word.strip())
    assert len(tokenizer.parallel_forward(word)) > 2


def test_a_reader_that_fails_or_is_silent_is_reported() -> None:
    def fails(text: str) -> list[tuple[str, str, bool]]:
        raise IndexError("list index out of range")

    with pytest.raises(TextError, match=r"cannot read 'one' \(list index out of range\)"):
        PhonemesTokenizer(fails).parallel_forward("one")
    with pytest.raises(TextError, match="no sound for 'one'"):
        PhonemesTokenizer(lambda text: [(text, "", False)]).parallel_forward("one")
    with pytest.raises(TextError, match="with '7', no phoneme of lina's"):
        PhonemesTokenizer(lambda text: [(text, "7", False)]).parallel_forward("one")


@pytest.mark.parametrize("bad", [-1, 68])
def test_ids_outside_the_vocabulary_have_no_label(tokenizer: PhonemesTokenizer, bad: int) -> None:
    with pytest.raises(ValueError, match=f"id {bad} is not in 0 .. 67"):
        tokenizer.labels([bad])


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hibari", None)
    monkeypatch.delitem(sys.modules, "lina.tokenizers.hibari_g2p", raising=False)
    with pytest.raises(PluginError, match="pip install hibari-tts"):
        Phonemes.build(config=PhonemesConfig())


@settings(max_examples=150, deadline=None)
@example(":D")
@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_in_one_line(tokenizer: PhonemesTokenizer, text: str) -> None:
    try:
        ids = tokenizer.parallel_forward(text)
    except TextError:
        with pytest.raises(TextError, match=r"\A[^\n]+\Z"):
            tokenizer.parallel_forward(text)
    else:
        outside_tags = re.sub(r"<[^<>]*>", "", strip_emoticons(text))  # ``:D`` has a letter, too
        assert len(ids) > 2 or not any(one.isalpha() or one.isdecimal() for one in outside_tags)


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("Say [həlˈoʊ] now.", "sˈA həlˈO nˈW."),
        ("Say [h ə l ˈoʊ].", "sˈA həlˈO."),
        ("[ kæt ] sat", "kæt sˈæt"),
        (r"He \[sic\] left.", "hˌi (sˈɪk) lˈɛft."),
        ("He [sic] left [].", "hˌi sˈɪk lˈɛft."),
        ("The [Encyclopædia] now", "ði ɛnsˌIkləpˈidiə nˈW"),
        ("the [first] and ]second[", "ðə fˈɜɹst ænd sˈɛkənd"),
    ],
)
def test_brackets(tokenizer: PhonemesTokenizer, text: str, symbols: str) -> None:
    assert symbols_of(tokenizer, text) == symbols
