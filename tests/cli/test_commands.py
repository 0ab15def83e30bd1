import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from lina.core.errors import DataError, TextError
from lina.speech.alignment import Alignment
from lina.speech.best_of import Candidate
from tests.cli.conftest import Lina
from tests.fakes import FakeDistributions

Refused = Callable[..., str]

SPEC = """\
lina: 1
name: small
backbone: {plugin: fake}
codec: {plugin: fake}
tokenizer: {plugin: fake}
data: {source: fake, config: {root: clips}}
"""
PLUGINS = """
    from pathlib import Path
    from lina.core.plugin import BackbonePlugin, CodecPlugin, CorpusPlugin, PluginConfig, TokenizerPlugin
    from lina.core.utterance import Reject, Utterance

    class Shared:
        @classmethod
        def example(cls): return {}
        @classmethod
        def build(cls, **arguments): return arguments
    class Backbone(Shared, BackbonePlugin): pass
    class Codec(Shared, CodecPlugin): pass
    class Tokenizer(Shared, TokenizerPlugin): pass
    class Corpus(CorpusPlugin):
        '''Reads nothing but two lines.'''
        class Config(PluginConfig):
            root: Path
        @classmethod
        def example(cls): return {}
        @classmethod
        def read(cls, *, config):
            yield Utterance(id="a", audio=config.root / "a.wav", text="one two", speaker="ann")
            yield Reject(id="b", where="list:2", reason="no text")
        @classmethod
        def get(cls, folder): return folder
"""


@pytest.fixture
def plugins(distributions: FakeDistributions) -> FakeDistributions:
    groups = {"backbones": "Backbone", "codecs": "Codec", "tokenizers": "Tokenizer", "corpora": "Corpus"}
    declared = {f"lina.{group}": {"fake": f"fake_plugins:{name}"} for group, name in groups.items()}
    distributions.install("fake-pack", declared, "1.5", fake_plugins=PLUGINS)
    return distributions


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "small.yaml").write_text(SPEC)
    return str(tmp_path / "small.yaml")


TRIED = tuple(
    Candidate(seed, 90 + seed, Alignment(0.125 * (seed != 8), 0.0, 0.0, seed != 9)) for seed in (7, 8, 9)
)
SENTENCE = SimpleNamespace(input=SimpleNamespace(text="Hi."), candidate=TRIED[1], candidates=TRIED)


class FakeVoice:
    sample_rate = 8000
    tokenizer = None
    resolved = SimpleNamespace(spec=SimpleNamespace(synthesize=SimpleNamespace(best_of=1)))

    def __init__(self, chunks: int = 3, error: Exception | None = None) -> None:
        self.chunks, self.error = chunks, error
        self.request: tuple[str, dict[str, Any]] = ("", {})
        self.settings: tuple[str, ...] = ()
        self.device = ""
        self.threads: int | None = None
        self.lexicon: Path | None = None

    def load_options(self) -> tuple[str, int | None, Path | None]:
        return self.device, self.threads, self.lexicon

    def stream(self, text: str, **options: Any) -> Iterator[torch.Tensor]:
        self.request = (text, options)
        if (on_sentence := options.pop("on_sentence", None)) is not None:
            on_sentence(SENTENCE)
        for _ in range(self.chunks):
            yield torch.full((1, 4000), 0.5)
        if self.error is not None:
            raise self.error

    def read(self, texts: Iterable[str], **options: Any) -> Iterator[torch.Tensor]:
        for text in texts:
            self.request = (f"{self.request[0]}<{text}>", options)
            yield torch.full((1, 4000), 0.5)

    def resolve_options(self, options: dict[str, Any]) -> Any:
        return SimpleNamespace(prompt=None)

    def input(self, text: str, prompt: Any = None) -> str:
        if "§" in text:
            raise TextError("no")
        return text


@pytest.fixture
def voice(monkeypatch: pytest.MonkeyPatch) -> FakeVoice:
    fake = FakeVoice()
    module = ModuleType("lina.speech.voice_loading")

    def load(
        directory: Path,
        device: str,
        settings: tuple[str, ...],
        threads: int | None,
        lexicon: Path | None,
        backend: str,
    ) -> FakeVoice:
        fake.settings, fake.device, fake.threads, fake.lexicon = settings, device, threads, lexicon
        return fake

    module.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lina.speech.voice_loading", module)
    monkeypatch.setattr("lina.speech.voice_loading", module, raising=False)
    return fake


class TestRun:
    @pytest.fixture
    def runs(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        seen: list[Any] = []
        module = ModuleType("lina.pipeline.speech_job")

        def run_spec(resolved: Any, hooks: Any) -> Path:
            seen.append((resolved, hooks))
            return Path(resolved.spec.train.out)

        module.run_spec = run_spec  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "lina.pipeline.speech_job", module)
        monkeypatch.setattr("lina.pipeline.speech_job", module, raising=False)
        monkeypatch.setenv("LINA_PLUGINS", "fake-pack")
        return seen

    @pytest.mark.usefixtures("plugins")
    def test_the_resolved_spec_and_the_hooks_are_passed_on(
        self, lina: Lina, runs: list[Any], spec: str
    ) -> None:
        done = lina("run", spec, "train.steps=3", "name=other")
        assert (done.code, done.out) == (0, "done: runs/other\n")
        ((resolved, hooks),) = runs
        assert resolved.spec.train.steps == 3
        assert resolved.codec.record.full_name == "codec:fake"
        assert hooks.run_started(run=SimpleNamespace()) == []

    @pytest.mark.usefixtures("plugins")
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["train.stpes=3"], "train.stpes: unknown key; did you mean 'steps'?"),
            (["codec.plugin=fkae"], "no codec named 'fkae' is installed; did you mean 'fake'?"),
            (["codec.config.x=1"], "codec.config.x: unknown key"),
            (["steps"], "'steps' is not key=value"),
        ],
    )
    def test_mistakes_are_found_before_anything_runs(
        self, refused: Refused, runs: list[Any], spec: str, arguments: list[str], expected: str
    ) -> None:
        assert expected in refused("run", spec, *arguments)
        assert runs == []

    def test_a_missing_spec(self, refused: Refused, tmp_path: Path) -> None:
        assert "this spec does not exist" in refused("run", str(tmp_path / "none.yaml"))


class TestSay:
    def test_it_writes_the_chunks_to_a_file(self, lina: Lina, voice: FakeVoice, tmp_path: Path) -> None:
        out = tmp_path / "out.wav"
        done = lina("say", "--run", str(tmp_path), "Hello.", "-o", str(out))
        assert done.code == 0, done.err
        assert done.out.startswith(f"{out}: 1.50 s of speech in ")
        audio, rate = soundfile.read(out)
        assert (len(audio), rate) == (12_000, 8000)
        np.testing.assert_allclose(audio, 0.5, atol=1e-3)
        assert voice.request == ("Hello.", {})

    def test_options_are_parsed_as_values_and_lists(
        self, lina: Lina, voice: FakeVoice, tmp_path: Path
    ) -> None:
        options = ["--temperature", "0.5,0", "--top-k", "7", "--top-p", "0.9", "--seed", "3"]
        options += ["--max-seconds", "2.5", "--speaker", "ann"]
        lina("say", "--run", str(tmp_path), "Hi.", "-o", str(tmp_path / "o.wav"), *options)
        assert voice.request[1] == {
            "temperature": (0.5, 0.0),
            "top_k": 7,
            "top_p": 0.9,
            "seed": 3,
            "max_seconds": 2.5,
            "speaker": "ann",
        }

    def test_settings_are_passed_to_the_spec(self, lina: Lina, voice: FakeVoice, tmp_path: Path) -> None:
        options = ["--set", "synthesize.window={}", "--set", "synthesize.window.ahead=4"]
        lina("say", "--run", str(tmp_path), "Hi.", "-o", str(tmp_path / "o.wav"), *options)
        assert voice.settings == ("synthesize.window={}", "synthesize.window.ahead=4")

    def test_verbose_prints_all_candidates(self, lina: Lina, voice: FakeVoice, tmp_path: Path) -> None:
        out = tmp_path / "o.wav"
        quiet = lina("say", "--run", str(tmp_path), "Hi.", "-o", str(out), "--best-of", "3")
        assert voice.request == ("Hi.", {"best_of": 3})
        assert quiet.out.startswith(f"{out}: 1.50 s of speech")
        done = lina("say", "--run", str(tmp_path), "Hi.", "-o", str(out), "--best-of", "3", "-v")
        text, header, *rows, _ = done.out.splitlines()
        assert text == "Hi."
        assert header.split() == ["seed", "frames", "skipped", "repeated", "unread", "stopped", "cost"]
        assert [row.split() for row in rows] == [
            ["7", "97", "12.5%", "0.0%", "0.0%", "yes", "0.125"],
            ["*", "8", "98", "0.0%", "0.0%", "0.0%", "yes", "0.000"],
            ["9", "99", "12.5%", "0.0%", "0.0%", "no", "1.125"],
        ]
        assert len({len(row) for row in (header, *rows)}) == 1, "columns are aligned"

    def test_a_prompt_is_a_recording_with_its_transcript(
        self, lina: Lina, voice: FakeVoice, tmp_path: Path
    ) -> None:
        recording = tmp_path / "a.wav"
        recording.write_bytes(b"RIFF")
        options = ["--prompt", str(recording), "--prompt-text", "One two.", "--guidance", "2.5"]
        assert lina("say", "--run", str(tmp_path), "Hi.", "-o", str(tmp_path / "o.wav"), *options).code == 0
        prompt = voice.request[1].pop("prompt")
        assert (prompt.audio, prompt.transcript) == (recording, "One two.")
        assert voice.request[1] == {"guidance": 2.5}

    @pytest.mark.usefixtures("voice")
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--prompt", "a.wav"], "--prompt a.wav: pass its transcript with --prompt-text"),
            (
                ["--prompt", "a.wav", "--prompt-text", " "],
                "--prompt a.wav: pass its transcript with --prompt-text",
            ),
            (["--prompt-text", "One."], "pass the recording with --prompt FILE"),
            (["--prompt", "none.wav", "--prompt-text", "One."], "none.wav: no such file"),
        ],
    )
    def test_an_incomplete_prompt_is_refused(
        self, refused: Refused, tmp_path: Path, options: list[str], expected: str
    ) -> None:
        assert expected in refused(
            "say", "--run", str(tmp_path), "Hi.", "-o", str(tmp_path / "o.wav"), *options
        )

    def test_device_threads_and_lexicon_are_passed_to_the_voice(
        self, lina: Lina, voice: FakeVoice, tmp_path: Path, refused: Refused
    ) -> None:
        options = ["say", "--run", str(tmp_path), "Hi.", "-o", str(tmp_path / "o.wav")]
        assert lina(*options).code == 0
        assert voice.load_options() == ("auto", None, None)
        assert lina(*options, "--device", "cpu", "--threads", "3", "--lexicon", "words.tsv").code == 0
        assert voice.load_options() == ("cpu", 3, Path("words.tsv"))
        assert "'gpu' is not one of 'auto', 'cpu', 'cuda'" in refused(*options, "--device", "gpu")
        assert "0 is not in the range x>=1" in refused(*options, "--threads", "0")

    def test_a_dash_reads_standard_input(
        self, lina: Lina, voice: FakeVoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(read=lambda limit: " From a pipe.\n"[:limit]))
        assert lina("say", "--run", str(tmp_path), "-", "-o", str(tmp_path / "o.wav")).code == 0
        assert voice.request[0] == "From a pipe."

    def test_a_file_is_read_sentence_by_sentence(self, lina: Lina, voice: FakeVoice, tmp_path: Path) -> None:
        (tmp_path / "book.txt").write_text("It was\nlate. Mr. Smith slept.\n")
        out = tmp_path / "out.wav"
        done = lina(
            "say", "--run", str(tmp_path), "--file", str(tmp_path / "book.txt"), "--carry", "-o", str(out)
        )
        assert done.code == 0, done.err
        assert done.out.startswith(f"{out}: 1.00 s of speech in ")
        assert voice.request == ("<It was late.><Mr. Smith slept.>", {"carry": True})

    @pytest.mark.usefixtures("voice")
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ([], "say: pass TEXT or --file FILE"),
            (["Hi.", "--file", "book.txt"], "say: pass either TEXT or --file FILE, not both"),
            (["--file", "none.txt"], "none.txt: cannot be read: No such file"),
            (["--file", "book.txt"], "book.txt: sentence 2 ('That is § 2.'): no"),
            (["--file", "empty.txt"], "empty.txt: holds no sentence"),
        ],
    )
    def test_files_that_cannot_be_read(
        self,
        refused: Refused,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        options: list[str],
        expected: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("book.txt").write_text("This is one. That is § 2.")
        Path("empty.txt").write_text(" * * *\n")
        assert expected in refused("say", "--run", str(tmp_path), *options, "-o", "o.wav")
        assert not Path("o.wav").exists()

    @pytest.mark.usefixtures("voice")
    def test_an_endless_standard_input_is_refused(
        self, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(read=lambda limit: "a" * limit))
        message = refused("say", "--run", str(tmp_path), "-", "-o", str(tmp_path / "o.wav"))
        assert "more than 1000000 characters" in message

    @pytest.mark.usefixtures("voice")
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ([""], "the text to say is empty"),
            ([" \n\t"], "the text to say is empty"),
            (["Hi.", "--temperature", "hot"], 'temperature: expected a number or a list, found "hot"'),
            (
                ["Hi.", "--temperature", "-1"],
                "temperature: expected a number greater than or equal to 0, found -1",
            ),
            (["Hi.", "--temperature", "0.5,x"], 'temperature.1: expected a number, found "x"'),
            (["Hi.", "--temperature", "nan"], "temperature: expected a number"),
            (["Hi.", "--top-k", "0"], "top_k: expected a number greater than or equal to 1"),
            (["Hi.", "--top-k", "2.5"], "top_k: expected a whole number"),
            (["Hi.", "--top-p", "1.5"], "top_p: expected a number less than or equal to 1"),
            (["Hi.", "--seed", "x"], 'seed: expected a whole number, found "x"'),
            (["Hi.", "--guidance", "-1"], "guidance: expected a number greater than or equal to 0"),
            (["Hi.", "--best-of", "0"], "best_of: expected a number greater than or equal to 1"),
            (["Hi.", "--best-of", "2.5"], "best_of: expected a whole number"),
            (["Hi.", "--max-seconds", "0"], "max_seconds: expected a number greater than 0"),
            (["Hi.", "--max-seconds", "${oc.env:HOME}"], "is not allowed"),
        ],
    )
    def test_bad_options(self, refused: Refused, tmp_path: Path, options: list[str], expected: str) -> None:
        assert expected in refused("say", "--run", str(tmp_path), *options, "-o", str(tmp_path / "o.wav"))
        assert not (tmp_path / "o.wav").exists()

    def test_an_unknown_run_gets_a_hint(self, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "first").mkdir()
        (tmp_path / "first" / "spec.yaml").touch()
        message = refused("say", "--run", str(tmp_path / "frist"), "Hi.", "-o", str(tmp_path / "o.wav"))
        assert f"there is no such run; did you mean '{tmp_path}/first'?" in message
        assert "train one with: lina run SPEC" in message

    def test_a_directory_that_is_no_run(self, refused: Refused, tmp_path: Path) -> None:
        assert "is not a run" in refused("say", "--run", str(tmp_path), "Hi.", "-o", str(tmp_path / "o.wav"))

    @pytest.mark.usefixtures("voice")
    def test_a_missing_folder_for_the_file(self, refused: Refused, tmp_path: Path) -> None:
        message = refused("say", "--run", str(tmp_path), "Hi.", "-o", str(tmp_path / "no" / "o.wav"))
        assert "there is no folder" in message

    @pytest.mark.usefixtures("voice")
    def test_a_device_or_folder_is_never_replaced(self, refused: Refused, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for out in (tmp_path, tmp_path / "pipe"):
            message = refused("say", "--run", str(tmp_path), "Hi.", "-o", str(out))
            assert "is not a regular file" in message
        assert (tmp_path / "pipe").is_fifo()

    @pytest.mark.usefixtures("voice")
    @pytest.mark.parametrize("name", ["spec.yaml", "o.mp3", "o"])
    def test_only_a_wav_is_written(self, refused: Refused, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("precious")
        message = refused("say", "--run", str(tmp_path), "Hi.", "-o", str(tmp_path / name))
        assert f"speech is written as WAV; name a file such as {Path(name).stem}.wav" in message
        assert (tmp_path / name).read_text() == "precious"

    @pytest.mark.usefixtures("voice")
    def test_a_name_that_no_disk_takes(self, refused: Refused, tmp_path: Path) -> None:
        message = refused("say", "--run", str(tmp_path), "Hi.", "-o", str(tmp_path / f"{'a' * 300}.wav"))
        assert "File name too long" in message

    def test_a_file_is_no_run(self, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "spec.yaml").touch()
        message = refused("say", "--run", str(tmp_path / "spec.yaml"), "Hi.", "-o", str(tmp_path / "o.wav"))
        assert "is a file; --run names the directory of a run" in message

    def test_a_closed_standard_input(
        self, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", None)
        message = refused("say", "--run", str(tmp_path), "-", "-o", str(tmp_path / "o.wav"))
        assert "standard input is closed" in message

    def test_a_failure_leaves_no_half_file(self, refused: Refused, voice: FakeVoice, tmp_path: Path) -> None:
        voice.error = DataError("lost it")
        assert "lost it" in refused("say", "--run", str(tmp_path), "Hi.", "-o", str(tmp_path / "o.wav"))
        assert list(tmp_path.iterdir()) == []

    def test_silence_is_no_file(self, refused: Refused, voice: FakeVoice, tmp_path: Path) -> None:
        voice.chunks = 0
        assert "without speech" in refused(
            "say", "--run", str(tmp_path), "Hi.", "-o", str(tmp_path / "o.wav")
        )
        assert list(tmp_path.iterdir()) == []


class TestPlugins:
    @pytest.mark.usefixtures("plugins")
    def test_a_table_with_the_broken_ones(self, lina: Lina, distributions: FakeDistributions) -> None:
        distributions.install("bad", {"lina.codecs": {"bad": "bad_mod:Bad"}}, bad_mod="import nowhere_at_all")
        done = lina("plugins")
        rows = [line.split() for line in done.out.splitlines()]
        assert done.code == 0
        assert ["codec", "fake", "fake-pack", "1.5", "ok"] in rows
        assert ["codec", "bad", "bad", "1.0", "broken"] in rows
        assert (
            "codec:bad: cannot be loaded: ModuleNotFoundError: No module named 'nowhere_at_all'" in done.out
        )

    @pytest.mark.usefixtures("plugins")
    def test_json(self, lina: Lina) -> None:
        rows = json.loads(lina("plugins", "--json").out)
        fake = next(row for row in rows if row["role"] == "codec" and row["name"] == "fake")
        assert fake == {
            "role": "codec", "name": "fake", "distribution": "fake-pack", "version": "1.5",
            "value": "fake_plugins:Codec", "state": "ok", "reason": "",
        }  # fmt: skip


class TestCheck:
    def test_a_plugin_that_keeps_the_laws(self, lina: Lina) -> None:
        done = lina("check", "bytes")
        assert done.code == 0, done.out
        assert done.out.splitlines()[0].startswith("tokenizer:bytes (lina ")
        assert done.out.splitlines()[-1].endswith(" passed, 0 failed, 2 not applicable")
        assert "step_is_pure" in done.out

    @pytest.mark.usefixtures("plugins")
    def test_a_plugin_that_breaks_them_exits_with_1(self, lina: Lina) -> None:
        done = lina("check", "tokenizer:fake")
        assert done.code == 1
        assert "FAILED builds" in done.out
        assert not done.out.splitlines()[-1].startswith("0 failed")

    @pytest.mark.usefixtures("plugins")
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("fake", "use backbone:fake or codec:fake or tokenizer:fake"),
            ("byts", "no plugin with laws is named 'byts'; did you mean 'bytes'?"),
            ("codec:byts", "no codec named 'byts' is installed"),
            ("corpus:folder", "no plugin with laws is named 'corpus:folder'"),
            ("folder", "no plugin with laws is named 'folder'"),
            ("os.system", "no plugin with laws is named 'os.system'"),
        ],
    )
    def test_a_name_that_cannot_be_checked(self, refused: Refused, name: str, expected: str) -> None:
        assert expected in refused("check", name)

    def test_a_device_that_is_not_there(self, lina: Lina) -> None:
        done = lina("check", "bytes", "--device", "nonsense")
        assert done.code == 2
        assert "--device nonsense: not usable here" in done.err


@pytest.mark.usefixtures("plugins")
class TestData:
    def test_list(self, lina: Lina, distributions: FakeDistributions) -> None:
        distributions.install(
            "bad", {"lina.corpora": {"bad": "bad_mod:Bad"}}, bad_mod="raise OSError('gone')"
        )
        lines = lina("data", "list").out.splitlines()
        assert "fake           Reads nothing but two lines." in lines
        assert any(
            line.startswith("bad ") and "broken: " in line and "OSError: gone" in line for line in lines
        )

    def test_get(self, lina: Lina, tmp_path: Path) -> None:
        assert lina("data", "get", "fake", "--into", str(tmp_path)).out == f"fake: {tmp_path}\n"

    def test_inspect_counts_and_lists_rejects(self, lina: Lina, tmp_path: Path, spec: str) -> None:
        (tmp_path / "clips").mkdir()
        soundfile.write(tmp_path / "clips" / "a.wav", np.sin(np.arange(8000)) * 0.5, 8000)
        done = lina("data", "inspect", "fake", f"root={tmp_path / 'clips'}")
        assert done.out.startswith("1 utterances, 0.0 minutes, 2 words\n")
        assert "median 1.00 s" in done.out
        assert "speakers: ann 1\n" in done.out
        assert "  list:2: b: no text\n" in done.out
        assert lina("data", "inspect", spec, "--decode").out == done.out

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["inspect", "fkae"], "no corpus named 'fkae' is installed; did you mean 'fake'?"),
            (["inspect", "fake"], "command line: root: is missing; add it"),
            (["inspect", "fake", "rot=x"], "command line: rot: unknown key; did you mean 'root'?"),
            (["inspect", "fake", "root=x", "rot=x"], "command line: rot: unknown key; did you mean 'root'?"),
            (["inspect", "fake", "root"], "'root' is not key=value"),
            (["inspect", "none.yaml"], "this spec does not exist"),
            (["get", "fkae"], "no corpus named 'fkae'"),
            (["get", "folder"], "nothing to fetch"),
        ],
    )
    def test_mistakes(self, refused: Refused, arguments: list[str], expected: str) -> None:
        assert expected in refused("data", *arguments)
