import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from lina.core.errors import DataError, PluginError, TextError
from lina.core.files.atomic import write_atomic
from lina.core.utterance import Reject, Utterance
from lina.data import shard_builder, token_shards
from lina.data.rejects import count_kinds, reason_kind
from lina.data.token_dataset import TokenDataset
from lina.data.token_shards import CodecFacts, EncodingTools, build_tokens

RATE, HOP = 8_000, 80
FACTS = CodecFacts(RATE, HOP, 1, (16, 256))


def encode(audio: Tensor) -> Tensor:
    """Two numbers of each frame: its mean level and its first sample."""
    frames = audio[:, 0].unfold(1, HOP, HOP)
    level = (frames.abs().mean(-1) * 15).long().clamp(0, 15)
    first = ((frames[:, :, 0] + 1) * 127.5).long().clamp(0, 255)
    return torch.stack([level, first], -1)


class Counting:
    def __init__(self, fail_at: int | None = None) -> None:
        self.calls = 0
        self.fail_at = fail_at

    def __call__(self, audio: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        return encode(audio)


def recording(folder: Path, name: str, frames: float = 10.0, level: float = 0.5) -> Utterance:
    samples = np.random.default_rng(len(name)).uniform(-level, level, int(frames * HOP))
    soundfile.write(folder / f"{name}.wav", samples, RATE)
    return Utterance(id=name, audio=folder / f"{name}.wav", text=f"text of {name}", speaker="ann")


@pytest.fixture
def corpus(tmp_path: Path) -> list[Utterance]:
    folder = tmp_path / "corpus"
    folder.mkdir()
    return [recording(folder, f"u{number}", 10 + number) for number in range(7)]


def build(
    items: Iterable[Utterance | Reject],
    directory: Path,
    encoder: Callable[[Tensor], Tensor] = encode,
    **changed: Any,
) -> TokenDataset:
    options: dict[str, Any] = {
        "facts": FACTS,
        "settings": {"codec": "toy"},
        "shard_size": 3,
        "max_seconds": 5.0,
    } | changed
    tools = EncodingTools(encoder, options.pop("check_text", None))
    return build_tokens(items, directory=directory, tools=lambda: tools, **options)


def snapshot(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_codes_texts_and_lengths(corpus: list[Utterance], tmp_path: Path) -> None:
    dataset = build(corpus, tmp_path / "tokens")
    assert len(dataset) == 7
    assert dataset.lengths.tolist() == [10 + number for number in range(7)]
    assert dataset.lengths.dtype == np.int64
    for number, utterance in enumerate(corpus):
        one = dataset[number]
        samples = torch.from_numpy(soundfile.read(utterance.audio, dtype="float32")[0])
        assert torch.equal(one.codes, encode(samples.view(1, 1, -1))[0])
        assert one.codes.dtype == torch.int64
        assert (one.id, one.text, one.speaker) == (utterance.id, utterance.text, "ann")
    assert (dataset.codebook_sizes, dataset.sample_rate, dataset.hop) == ((16, 256), RATE, HOP)
    assert dataset.seconds == pytest.approx(sum(range(10, 17)) * HOP / RATE)
    assert (tmp_path / "tokens" / "rejects.jsonl").read_bytes() == b""


def test_rows_are_padded_to_whole_frames(tmp_path: Path) -> None:
    item = recording(tmp_path, "a", 3.5)
    assert build([item], tmp_path / "tokens").lengths.tolist() == [4]


def test_finished_work_is_not_redone(corpus: list[Utterance], tmp_path: Path) -> None:
    build(corpus, tmp_path / "tokens")
    before = snapshot(tmp_path / "tokens")
    counting = Counting()
    seen: list[tuple[int, int]] = []
    build(corpus, tmp_path / "tokens", counting, report=lambda done, total: seen.append((done, total)))
    assert counting.calls == 0
    assert seen == [(7, 7)]
    assert snapshot(tmp_path / "tokens") == before


@pytest.mark.parametrize("killed_at", range(1, 8))
def test_killed_and_run_again(corpus: list[Utterance], tmp_path: Path, killed_at: int) -> None:
    build(corpus, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        build(corpus, tmp_path / "tokens", Counting(killed_at))
    with pytest.raises(DataError, match="not \\(all\\) made yet"):
        TokenDataset(tmp_path / "tokens")
    again = Counting()
    seen: list[int] = []
    build(corpus, tmp_path / "tokens", again, report=lambda done, total: seen.append(done))
    kept = (killed_at - 1) // 3 * 3
    assert again.calls == 7 - kept
    assert seen == [done for done in (0, 3, 6, 7) if done >= kept]
    assert snapshot(tmp_path / "tokens") == snapshot(tmp_path / "whole")


def _tools() -> EncodingTools:
    return EncodingTools(encode)


@pytest.mark.parametrize("workers", [2, 5])
def test_several_workers_write_the_same(corpus: list[Utterance], tmp_path: Path, workers: int) -> None:
    build(corpus, tmp_path / "whole")
    options: dict[str, Any] = {
        "facts": FACTS,
        "settings": {"codec": "toy"},
        "shard_size": 3,
        "max_seconds": 5.0,
    }
    dataset = build_tokens(corpus, directory=tmp_path / "tokens", tools=_tools, workers=workers, **options)
    assert len(dataset) == 7
    assert snapshot(tmp_path / "tokens") == snapshot(tmp_path / "whole")


BUILDER = """
import sys, time
from pathlib import Path
from tests.data.test_token_shards import build, encode
from lina.core.utterance import Utterance

def slowly(audio):
    print(flush=True)
    time.sleep(0.02)
    return encode(audio)

texts = sorted(Path(sys.argv[1]).glob("*.wav"))
items = [Utterance(id=path.stem, audio=path, text=f"text of {path.stem}", speaker="ann") for path in texts]
build(items, Path(sys.argv[2]), slowly)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_kill_9(corpus: list[Utterance], tmp_path: Path) -> None:
    build(corpus, tmp_path / "whole")
    command = [sys.executable, "-c", BUILDER, str(corpus[0].audio.parent), str(tmp_path / "tokens")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        for _ in range(5):
            assert process.stdout.readline() == b"\n"
        process.kill()
    counting = Counting()
    build(corpus, tmp_path / "tokens", counting)
    assert counting.calls <= 4
    assert snapshot(tmp_path / "tokens") == snapshot(tmp_path / "whole")


@pytest.mark.parametrize("step", range(1, 14))
def test_a_disk_that_fails_at_any_write(
    corpus: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    build(corpus, tmp_path / "whole")
    real, count = write_atomic, 0

    def failing(path: Path, content: bytes) -> None:
        nonlocal count
        count += 1
        if count == step:
            path.with_name(f".{path.name}.1.part").write_bytes(content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        real(path, content)

    for module in (token_shards, shard_builder):
        monkeypatch.setattr(module, "write_atomic", failing)
    if step <= 11:
        with pytest.raises(OSError, match="No space left"):
            build(corpus, tmp_path / "tokens")
    else:
        build(corpus, tmp_path / "tokens")
    for module in (token_shards, shard_builder):
        monkeypatch.setattr(module, "write_atomic", real)
    build(corpus, tmp_path / "tokens")
    assert snapshot(tmp_path / "tokens") == snapshot(tmp_path / "whole")


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": {"codec": "other"}},
        {"facts": CodecFacts(RATE, HOP, 1, (16, 512))},
        {"max_seconds": 4.0},
        {"min_seconds": 0.01},
    ],
)
def test_changed_settings_make_everything_anew(
    corpus: list[Utterance], tmp_path: Path, changed: dict[str, Any]
) -> None:
    first = build(corpus, tmp_path / "tokens")
    counting = Counting()
    second = build(corpus, tmp_path / "tokens", counting, **changed)
    assert counting.calls == 7
    assert first.fingerprint != second.fingerprint


def test_only_changed_shards_are_made_anew(corpus: list[Utterance], tmp_path: Path) -> None:
    build(corpus, tmp_path / "tokens")
    counting = Counting()
    corpus[4] = corpus[4].model_copy(update={"text": "another text"})
    dataset = build(corpus, tmp_path / "tokens", counting)
    assert counting.calls == 3
    assert dataset[4].text == "another text"
    recording(corpus[0].audio.parent, "u6", 30)
    assert build(corpus, tmp_path / "tokens", counting).lengths[6] == 30
    assert counting.calls == 4


def test_a_smaller_corpus_leaves_no_old_shards(corpus: list[Utterance], tmp_path: Path) -> None:
    build(corpus, tmp_path / "tokens")
    assert len(build(corpus[:2], tmp_path / "tokens")) == 2
    assert {path.stem for path in (tmp_path / "tokens").glob("shard-*")} == {"shard-00000"}


@pytest.mark.parametrize("file", ["shard-00001.safetensors", "shard-00001.jsonl", "shard-00001.json"])
def test_damaged_shards_are_made_anew(corpus: list[Utterance], tmp_path: Path, file: str) -> None:
    build(corpus, tmp_path / "tokens")
    whole = snapshot(tmp_path / "tokens")
    raw = bytearray(whole[file])
    raw[-3] ^= 1
    for content in (bytes(raw), b"", raw[: len(raw) // 2]):
        (tmp_path / "tokens" / file).write_bytes(content)
        counting = Counting()
        build(corpus, tmp_path / "tokens", counting)
        assert counting.calls == 3
        assert snapshot(tmp_path / "tokens") == whole


def test_rejects_are_listed_with_their_reasons(corpus: list[Utterance], tmp_path: Path) -> None:
    folder = corpus[0].audio.parent
    corpus[1].audio.write_bytes(corpus[1].audio.read_bytes()[:-20])
    silent = recording(folder, "silent", level=0.0)
    short = recording(folder, "short", 0.5)
    long = recording(folder, "long", 600)
    bad: list[Utterance | Reject] = [
        Reject(id="list:9", where="list:9", reason="empty transcript"),
        silent,
        short,
        long,
        corpus[0],
    ]
    dataset = build([*corpus, *bad], tmp_path / "tokens", max_rejects=0.5)
    assert len(dataset) == 6
    listed = [json.loads(line) for line in (tmp_path / "tokens" / "rejects.jsonl").read_text().splitlines()]
    assert [(one["id"], reason_kind(one["reason"])) for one in listed] == [
        ("u1", "truncated"),
        ("list:9", "empty transcript"),
        ("silent", "is silent"),
        ("short", "too short"),
        ("long", "too long"),
        ("u0", "duplicate id"),
    ]
    assert listed[0]["where"] == str(corpus[1].audio)
    counting = Counting()
    assert len(build([*corpus, *bad], tmp_path / "tokens", counting, max_rejects=0.5)) == 6
    assert counting.calls == 0


def test_too_many_rejects(corpus: list[Utterance], tmp_path: Path) -> None:
    items: list[Utterance | Reject] = [
        *corpus,
        *(Reject(id=str(n), where="list", reason="empty transcript") for n in range(2)),
    ]
    items.append(Reject(id="x", where="list", reason="no such file: x.wav"))
    with pytest.raises(DataError) as caught:
        build(items, tmp_path / "tokens")
    listed = tmp_path / "tokens" / "rejects.jsonl"
    assert str(caught.value) == (
        "3 of 10 utterances were rejected (30.0%, allowed 5.0%): 2 empty transcript, 1 no such file; "
        f"see {listed}, fix the corpus or raise data.max_rejects"
    )
    assert len(listed.read_text().splitlines()) == 3
    assert not (tmp_path / "tokens" / "manifest.json").exists()
    counting = Counting()
    assert len(build(items, tmp_path / "tokens", counting, max_rejects=0.3)) == 7
    assert counting.calls == 0


def test_an_old_manifest_does_not_outlive_a_failed_build(corpus: list[Utterance], tmp_path: Path) -> None:
    build(corpus, tmp_path / "tokens")
    items: list[Utterance | Reject] = [
        *corpus,
        *(Reject(id=str(n), where="list", reason="bad") for n in range(9)),
    ]
    with pytest.raises(DataError, match="9 of 16"):
        build(items, tmp_path / "tokens")
    with pytest.raises(DataError, match="not \\(all\\) made yet"):
        TokenDataset(tmp_path / "tokens")


def test_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the corpus has no utterances"):
        build([], tmp_path / "tokens")
    message = r"1 of 1 utterances were rejected \(100.0%, allowed 100.0%\): 1 c; see .*, fix the corpus$"
    with pytest.raises(DataError, match=message):
        build([Reject(id="a", where="b", reason="c")], tmp_path / "tokens", max_rejects=1.0)


def test_texts_that_the_tokenizer_refuses(corpus: list[Utterance], tmp_path: Path) -> None:
    def check(text: str) -> None:
        if "u3" in text:
            raise TextError("the character '3' is not known")

    dataset = build(corpus, tmp_path / "tokens", check_text=check, max_rejects=0.2)
    assert "u3" not in dataset.ids
    assert "text refused: the character '3'" in (tmp_path / "tokens" / "rejects.jsonl").read_text()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (
            lambda audio: encode(audio)[:, :-1],
            r"gave codes \[1, 9, 2\] torch.int64 for 'u0', expected integers \[1, 10",
        ),
        (lambda audio: encode(audio)[..., :1], r"gave codes \[1, 10, 1\]"),
        (lambda audio: encode(audio).float(), "torch.float32"),
        (lambda audio: encode(audio) + 250, "out of range for 'u0': 2"),
        (lambda audio: encode(audio) - 256, "out of range for 'u0': -2"),
    ],
)
def test_codecs_that_break_their_contract(
    corpus: list[Utterance], tmp_path: Path, codes: Callable[[Tensor], Tensor], message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        build(corpus, tmp_path / "tokens", codes)


def test_codebooks_beyond_int16(corpus: list[Utterance], tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="a codebook of 40000 entries: shards hold at most 32768"):
        build(corpus, tmp_path / "tokens", facts=CodecFacts(RATE, HOP, 1, (16, 40_000)))
    high = torch.tensor([15, 32_767])
    dataset = build(
        corpus,
        tmp_path / "tokens",
        lambda audio: encode(audio) * 0 + high,
        facts=CodecFacts(RATE, HOP, 1, (16, 32_768)),
    )
    assert dataset[0].codes.max() == 32_767


def test_a_group_of_only_rejects_is_an_empty_shard(corpus: list[Utterance], tmp_path: Path) -> None:
    items: list[Utterance | Reject] = [
        *(Reject(id=str(n), where="list", reason="bad") for n in range(3)),
        *corpus,
    ]
    dataset = build(items, tmp_path / "tokens", max_rejects=0.5)
    assert dataset.ids == [utterance.id for utterance in corpus]
    assert torch.equal(dataset[0].codes, build(corpus, tmp_path / "other")[0].codes)
    assert len(TokenDataset(tmp_path / "tokens")) == 7


def test_a_moved_folder_still_reads(corpus: list[Utterance], tmp_path: Path) -> None:
    expected = build(corpus, tmp_path / "tokens")[5].codes
    shutil.move(tmp_path / "tokens", tmp_path / "elsewhere")
    assert torch.equal(TokenDataset(tmp_path / "elsewhere")[5].codes, expected)


def test_kinds_of_reasons() -> None:
    rejects = [Reject(id="a", where="b", reason=reason) for reason in ("y", "x: 1", "x: 2: 3")]
    assert list(count_kinds(rejects).items()) == [("x", 2), ("y", 1)]


def test_min_seconds(corpus: list[Utterance], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 too short"):
        build(corpus, tmp_path / "tokens", min_seconds=12.5 * HOP / RATE)
    dataset = build(corpus, tmp_path / "tokens", min_seconds=12.5 * HOP / RATE, max_rejects=0.5)
    assert (dataset.lengths.tolist(), dataset.rejects) == ([13, 14, 15, 16], 3)
    assert "too short: less than 0.125 s" in (tmp_path / "tokens" / "rejects.jsonl").read_text()


def test_shards_of_the_same_inputs_are_taken_from_another_directory(
    tmp_path: Path, corpus: list[Utterance]
) -> None:
    def build(name: str, others: list[Path], **settings: Any) -> tuple[TokenDataset, int]:
        encode = Counting()
        tools = EncodingTools(encode)
        options: dict[str, Any] = {"facts": FACTS, "settings": settings, "shard_size": 3, "others": others}
        return build_tokens(corpus, directory=tmp_path / name, tools=lambda: tools, **options), encode.calls

    first, calls = build("first", [tmp_path / "missing"])
    assert calls == 7
    second, calls = build("second", [tmp_path / "missing", tmp_path / "first"])
    assert (calls, second.content) == (0, first.content)
    _, calls = build("other", [tmp_path / "first"], codec="other")
    assert calls == 7
    damaged = tmp_path / "first" / "shard-00001.safetensors"
    write_atomic(damaged, b"damaged")
    third, calls = build("third", [tmp_path / "first"])
    assert (calls, third.content) == (3, second.content)
