import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lina.core.errors import DataError, PluginError, SpecError, TextError
from lina.core.protocols import Tokenizer, implements
from lina.tokenizers.bpe import BPE, BPEConfig, BPETokenizer
from tests.tokenizers.streams import cuts, in_pieces, split, texts

tokenizers = pytest.importorskip("tokenizers", reason="pip install 'lina[bpe]'")

FILE = Path(__file__).parent / "fixtures" / "small_bpe.json"
CORPUS = ["The cat sat on the mat.", "the cats sat on that hat, isn't it"] * 3
SMALL = BPEConfig(vocab_size=290, lowercase=True)
words = st.lists(
    st.sampled_from(["The", "cat's", "sells", " ", "  ", "\n", ",", "sea-shells", "日", "3", "\u00a0", "é"])
).map("".join)


@pytest.fixture(scope="module")
def trained() -> BPETokenizer:
    return BPE.build(config=SMALL, trained=BPE.train(CORPUS, config=SMALL))


@pytest.fixture(scope="module")
def loaded() -> BPETokenizer:
    return BPE.build(config=BPEConfig(file=FILE))


@settings(deadline=None)
@given(text=st.one_of(words, texts), places=cuts)
def test_pieces_give_what_the_whole_gives(trained: BPETokenizer, text: str, places: list[int]) -> None:
    whole = trained.parallel_forward(text)
    assert in_pieces(trained, split(text, places)) == whole
    assert whole[1:-1] == trained.bpe.encode(text).ids


@settings(deadline=None)
@given(text=st.text(st.sampled_from("Shels sea.,' !-[BOS]"), max_size=40), places=cuts)
def test_pieces_of_a_file_give_what_the_whole_gives(
    loaded: BPETokenizer, text: str, places: list[int]
) -> None:
    try:
        whole = loaded.parallel_forward(text)
    except TextError:
        with pytest.raises(TextError):
            in_pieces(loaded, split(text, places))
    else:
        assert in_pieces(loaded, split(text, places)) == whole
        assert whole == [1, *loaded.bpe.encode(text).ids, 2]


def test_it_is_a_tokenizer_and_no_pieces_are_the_empty_text() -> None:
    tokenizer = BPE.build(**BPE.example())
    assert implements(tokenizer, Tokenizer)
    marks = [tokenizer.begin, tokenizer.end]
    assert (
        in_pieces(tokenizer, []) == in_pieces(tokenizer, ["", ""]) == tokenizer.parallel_forward("") == marks
    )


def test_golden_ids(trained: BPETokenizer, loaded: BPETokenizer) -> None:
    assert (trained.vocab_size, trained.begin, trained.end) == (280, 278, 279)
    ids = trained.parallel_forward("The cat isn't é!")
    assert ids == [278, 258, 263, 275, 266, 220, 127, 102, 0, 279]
    labels = ["BEGIN", "the", "␣cat", "␣isn", "'t", "␣", "0xC3", "0xA9", "!", "END"]
    assert trained.labels(ids) == labels
    ids = loaded.parallel_forward("She sells  sea-shells!")
    assert ids == [1, 42, 3, 47, 3, 3, 45, 8, 46, 4, 2]
    assert loaded.labels(ids) == ["BEGIN", "she", *"␣", "sells", *"␣␣", "sea", "-", "shells", "!", "END"]


def test_training_is_deterministic_keeps_its_size_and_survives_json(trained: BPETokenizer) -> None:
    document = BPE.train(iter(CORPUS), config=SMALL)
    assert document == BPE.train(CORPUS, config=SMALL)
    again = BPE.build(config=SMALL, trained=json.loads(json.dumps(document)))
    assert again.parallel_forward("that cat") == trained.parallel_forward("that cat")
    config = BPEConfig(vocab_size=262)
    assert BPE.build(config=config, trained=BPE.train(CORPUS, config=config)).vocab_size == 262


@pytest.mark.parametrize("before", [None, "true"])
def test_training_leaves_the_environment(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    if before:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", before)
    BPE.train(CORPUS, config=SMALL)
    assert os.environ.get("TOKENIZERS_PARALLELISM") == before


def test_the_marks_cannot_be_written_in_a_text(trained: BPETokenizer, loaded: BPETokenizer) -> None:
    assert trained.parallel_forward("BEGIN [BOS]").count(trained.begin) == 1
    with pytest.raises(TextError, match=r"small_bpe.json does not know '\[' \(U\+005B\), '\]' \(U\+005D\)"):
        loaded.parallel_forward("she [BOS] sells")


@pytest.mark.parametrize(
    ("text", "named"), [("sea 1", "'1' (U+0031)"), ("naïve", "'ï' (U+00EF)"), ("a\nb", "'\\n' (U+000A)")]
)
def test_unknown_characters_of_a_file_are_named(loaded: BPETokenizer, text: str, named: str) -> None:
    with pytest.raises(TextError) as caught:
        loaded.parallel_forward(text)
    assert f"does not know {named}; remove or spell out" in str(caught.value)
    with pytest.raises(TextError, match="and 2 more;"):
        loaded.parallel_forward("0123456789")


def changed(**changes: Any) -> dict[str, Any]:
    """The fixture with some parts replaced; ``model__x`` is inside the model."""
    document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    for name, value in changes.items():
        inside, _, key = name.rpartition("__")
        (document[inside] if inside else document)[key] = value
    return document


def test_a_file_with_an_unknown_entry_uses_it() -> None:
    vocabulary = changed()["model"]["vocab"] | {"[UNK]": 61}
    tokenizer = BPETokenizer(changed(model__vocab=vocabulary), "file")
    assert tokenizer.parallel_forward("sea1") == [1, 45, 61, 2]


def test_a_file_without_marks_gets_its_own() -> None:
    vocabulary = {name: place for place, name in enumerate(list(changed()["model"]["vocab"])[3:])}
    tokenizer = BPETokenizer(changed(model__vocab=vocabulary, added_tokens=[]), "file")
    assert (tokenizer.begin, tokenizer.end, tokenizer.vocab_size) == (58, 59, 60)
    assert tokenizer.parallel_forward("sea") == [58, 42, 59]


TOKEN = {
    "id": 0,
    "content": "[PAD]",
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
}
WORD_PIECE = {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "a", "continuing_subword_prefix": "#"}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "is no tokenizers-format JSON"),
        ({"model": 3}, "is no tokenizers-format JSON"),
        (
            changed(model=WORD_PIECE | {"max_input_chars_per_word": 9}),
            "model of type 'WordPiece'; only 'BPE'",
        ),
        (changed(model__merges=[["q", "zz"]]), "is no tokenizers-format JSON"),
        (changed(model__dropout=0.1), "has dropout 0.1"),
        (changed(model__byte_fallback=True), "has byte_fallback True"),
        (changed(model__end_of_word_suffix="</w>"), "has end_of_word_suffix '</w>'"),
        (changed(model__vocab={}, model__merges=[], added_tokens=[]), "has an empty vocabulary"),
        (changed(model__vocab={"a": 5}, model__merges=[], added_tokens=[]), "number its 1 entries 0 .. 0"),
        (changed(added_tokens=[TOKEN | {"special": False}]), "token '[PAD]' that is not special"),
        (
            changed(added_tokens=[TOKEN | {"id": 61, "content": "x!", "special": True}]),
            "'x!' outside its vocab",
        ),
        (changed(post_processor=BYTE_LEVEL), "has the post-processor 'ByteLevel'"),
        (changed(normalizer={"type": "NFC"}), "has the normalizer 'NFC'; only 'Lowercase'"),
        (changed(normalizer="Sequence"), "has the normalizer 'Sequence'; only 'Lowercase'"),
        (changed(added_tokens=[TOKEN | {"content": "x" * 1001}]), "an entry of 1,001 characters"),
        (changed(model__vocab={"y" * 1001: 0}), "an entry of 1,001 characters, which begins with 'yyyy"),
        (changed(added_tokens=[TOKEN] * 10_001), "has 10,001 added tokens"),
        (changed(pre_tokenizer=None), "no pre-tokenizer that splits at blanks"),
        (changed(pre_tokenizer={"type": "Punctuation", "behavior": "Isolated"}), "that splits at blanks"),
        (changed(pre_tokenizer={"type": "Punctuation", "behavior": "Removed"}), '"behavior": "Removed"'),
        (changed(pre_tokenizer={"type": "Digits", "individual_digits": True}), '{"type": "Digits"'),
        (changed(pre_tokenizer=BYTE_LEVEL), "is byte-level but lacks"),
        (changed(pre_tokenizer=BYTE_LEVEL | {"add_prefix_space": True}), '"add_prefix_space": true'),
        (
            changed(
                pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, BYTE_LEVEL]}
            ),
            "'ByteLevel' among others",
        ),
    ],
)
def test_files_that_would_be_read_wrongly_are_refused(document: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        BPE.build(config=BPEConfig(file=path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parts_without_a_use_never_reach_the_library() -> None:
    """Lengths that truncation and padding set are no business of a tokenizer of streams."""
    document = changed(truncation={"max_length": -1}, padding={"strategy": "none"}, decoder={"type": "x"})
    assert BPETokenizer(document, "file").vocab_size == BPETokenizer(changed(), "file").vocab_size


@pytest.mark.parametrize("part", ["WhitespaceSplit", "Whitespace", "CharDelimiterSplit"])
@settings(deadline=None)
@given(text=st.text(st.sampled_from("seal., '"), max_size=30), places=cuts)
def test_other_blank_splitters_stream_too(part: str, text: str, places: list[int]) -> None:
    part_document = {"type": part} | ({"delimiter": " "} if part == "CharDelimiterSplit" else {})
    tokenizer = BPETokenizer(changed(pre_tokenizer=part_document), "file")
    assert in_pieces(tokenizer, split(text, places)) == [1, *tokenizer.bpe.encode(text).ids, 2]


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.json cannot be read"):
        BPE.build(config=BPEConfig(file=tmp_path / "none.json"))
    for name, content in (("text.json", b"not json"), ("bytes.json", b"\xff\xfe\x00")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SpecError, match=f"{name} is not JSON"):
            BPE.build(config=BPEConfig(file=tmp_path / name))


def test_wrong_configurations() -> None:
    with pytest.raises(ValidationError) as error:
        BPEConfig(vocab_size=257)
    assert [(one["loc"], one["ctx"]) for one in error.value.errors()] == [(("vocab_size",), {"ge": 258})]
    with pytest.raises(ValidationError, match="'lowercase' is for training, but 'file' has its own"):
        BPEConfig(lowercase=True, file=FILE)


def test_training_needs_texts_and_building_needs_training() -> None:
    with pytest.raises(DataError, match="the corpus has no text"):
        BPE.train(["", " \n"], config=SMALL)
    with pytest.raises(TextError, match=r"lone surrogate U\+D800"):
        BPE.train(["a \ud800"], config=SMALL)
    with pytest.raises(PluginError, match="train it on the corpus first"):
        BPE.build(config=SMALL)
    assert BPE.train(CORPUS, config=BPEConfig(file=FILE)) is None


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(PluginError, match=r"pip install 'lina\[bpe\]'"):
        BPE.build(config=BPEConfig(file=FILE))


@pytest.mark.parametrize("bad", [-1, 280])
def test_ids_outside_the_vocabulary_have_no_label(trained: BPETokenizer, bad: int) -> None:
    with pytest.raises(ValueError, match=f"id {bad} is not in 0 .. 279"):
        trained.labels([bad])
