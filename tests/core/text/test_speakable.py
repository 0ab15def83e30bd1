"""Texts that a voice can speak, with SSML, pauses and characters that its tokenizer cannot read."""

import pytest

from lina.core.errors import TextError
from lina.core.text.speakable import check_speakable, speaking_tokenizer
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
