"""Texts that a voice can speak, with SSML, pauses and characters that its tokenizer cannot read."""

import pytest

from lina.core.errors import TextError
from lina.core.text.speakable import check_speakable, part_ids, speaking_tokenizer
from lina.tokenizers.bytes import Bytes
from lina.tokenizers.phonemes import Phonemes

SSML = '<speak>It costs <sub alias="five">5</sub> euros <break time="200ms"/> 日 today.</speak>'


def test_validation_reads_like_the_voice() -> None:
    refusing = Phonemes.build(**Phonemes.example())
    skipping = speaking_tokenizer(refusing, "skip", None)
    check_speakable(SSML, skipping, 40)
    check_speakable('<break time="1s"/>', skipping, 40)
    with pytest.raises(TextError, match="日"):
        check_speakable(SSML, refusing, 40)
    with pytest.raises(TextError, match="has 25 characters, the limit is 24"):
        check_speakable("Yes. This one is a bit longer.", skipping, 24)


def test_a_text_of_which_only_punctuation_is_left_is_nothing_to_speak() -> None:
    phonemes, letters = Phonemes.build(**Phonemes.example()), Bytes.build(**Bytes.example())
    for text in (":D", "xD!", ":D. :D."):
        assert part_ids(text, phonemes, 100) == []
        with pytest.raises(TextError, match=r"^text '.*' has nothing that this run's tokenizer reads"):
            check_speakable(text, phonemes, 100)
    for text in (":D\n\n:D", "<speak><p>:D</p><p>:D</p></speak>"):
        with pytest.raises(TextError, match="has nothing that this run's tokenizer reads"):
            check_speakable(text, phonemes, 100)
    check_speakable(':D\n\n<break time="300ms"/> :D', phonemes, 100)
    for text in ("Hi :D", ":D Hi.", "I.", "5"):
        assert part_ids(text, phonemes, 100) == phonemes.parallel_forward(text)
    for text in (":D", "Привет", "日本", "a"):
        assert part_ids(text, letters, 100) == letters.parallel_forward(text)
