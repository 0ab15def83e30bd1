"""JSON of unknown origin: limits, finite numbers and schemas."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from lina.core.errors import FileError
from lina.core.files.json_file import DEEPEST, parse_json, read_json

NAMES = TypeAdapter(list[str])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON: Expecting value at line 1, column 1"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'"\x80"', "is not JSON: byte 1 is not UTF-8"),
        (b"[" * 100_000 + b"]" * 100_000, "is nested deeper than 64 levels"),
        (b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2), "is nested deeper than 64 levels"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "is nested deeper than 64 levels"),
        (b'{"step": 1e999}', "holds a number that is NaN, infinite or too large"),
        (b"[NaN]", "holds a number that is NaN"),
        (b"[-Infinity]", "holds a number that is NaN"),
        (b"[" + b"9" * 5000 + b"]", "Exceeds the limit"),
        (b'{"a": 1, "a": 2}', "holds a key twice"),
        (b"[1]", "has another content than expected: 0: Input should be a valid string"),
        (b'{"a": 1}', "has another content than expected: Input should be a valid array"),
        (b'["\\ud800"]', "has another content than expected"),
    ],
)
def test_other_contents_are_refused_with_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(FileError) as refused:
        read_json(path, NAMES)
    assert str(refused.value).startswith(f"{path}: {reason}")
    assert "\n" not in str(refused.value)


def test_a_value_that_is_refused_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"password": "swordfish"}')
    with pytest.raises(FileError) as refused:
        read_json(path, NAMES)
    assert "swordfish" not in str(refused.value)
    assert "password" not in str(refused.value)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(FileError, match=r"has 1,099,511,627,776 bytes, more than the 8,000,000"):
        read_json(path, NAMES)


@pytest.mark.skipif(os.name != "posix", reason="pipes")
@pytest.mark.timeout(20)
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(FileError, match="is a pipe, not a regular file"):
        read_json(tmp_path / "a.json", NAMES)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        parse_json(content, NAMES)
    except ValueError:
        return


@given(st.lists(st.text(), max_size=5))
def test_valid_content_is_read(names: list[str]) -> None:
    assert parse_json(NAMES.dump_json(names), NAMES) == names
