import pytest

from lina.core.errors import TextError
from lina.core.text.validate import check_text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 3 is empty; write at least one word"),
        (" \n\t", "line 3 is blank; write at least one word"),
        ("x" * 51, "line 3 has 51 characters, the limit is 50; split it into sentences"),
        ("say\0it", "line 3 has the control character U+0000 at character 3, near 'sayit'; remove it"),
        ("a\x1b[0m", "line 3 has the control character U+001B at character 1, near 'a[0m'; remove it"),
        ("a\x85b", "line 3 has the control character U+0085 at character 1, near 'ab'; remove it"),
        ("ok \udc80", "line 3 has the lone surrogate U+DC80 at character 3, near 'ok'; remove it"),
        (
            "a\uffff",
            "line 3 has the code point that is no character U+FFFF at character 1, near 'a'; remove it",
        ),
        ("caf\ufffd", "the replacement character (decoded wrongly) U+FFFD at character 3, near 'caf'"),
    ],
)
def test_unspeakable_texts_are_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(TextError) as caught:
        check_text(text, 50, where="line 3")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["Hello.", "two\nlines\t\r\n", "日本語 👩\u200d🔬 e\u0301 \u00a0x", "x" * 50]
)
def test_ordinary_texts_pass(text: str) -> None:
    check_text(text, 50)
