"""The voice of exported graphs: the same speech as PyTorch's, without PyTorch."""

import json
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

import lina
from lina.config.run_files import SPEC_FILE
from lina.core.errors import CheckpointError, LinaError, TextError
from lina.engine.onnx.files import FACTS, FOLDER, read_folder
from lina.engine.onnx.stored import StoredWeights
from lina.pipeline.speech_job import run_spec
from lina.runs.checkpoint import read_weights
from lina.runs.checkpoint_store import checkpoint_folder, newest_checkpoint
from lina.speech.default_voice import shipped_voice
from lina.speech.export import export
from lina.speech.graph_export import compare_decoder
from lina.speech.graph_loading import folder_obstacle
from lina.speech.loaded import LoadedVoice, _has_gpu
from lina.speech.voice import Voice
from lina.speech.voice_loading import load as load_torch
from tests.pipeline.small_run import hooks_of, small

TEXT = 'The bridge is closed.<break time="300ms"/> Why?'
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None\n"
"""Every import of torch fails."""


@pytest.fixture(scope="module")
def light() -> LoadedVoice:
    return lina.load(device="cpu", backend="onnx")


@pytest.fixture(scope="module")
def eager() -> Voice:
    return load_torch(shipped_voice(), "cpu", backend="eager")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"speaker": "kathleen", "seed": 5},
        {"temperature": 0.0},
        {"temperature": [0.9, 0.8, 0.0, 0.5], "top_k": [64, 20, None, 1], "top_p": 0.9, "seed": 2},
        {"max_seconds": 0.2},
    ],
    ids=str,
)
def test_it_says_what_pytorch_says(light: LoadedVoice, eager: Voice, options: dict[str, Any]) -> None:
    if options.get("top_k"):
        options = {**options, "top_k": [64, 20, 64, 1]}
    expected = eager.say(TEXT, **options).numpy()
    found = light.say(TEXT, **options)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert "voice" not in vars(light), "PyTorch has been loaded"
    chunks = list(light.stream(TEXT, **options))
    np.testing.assert_array_equal(np.concatenate(chunks, 1), found)
    assert max(chunk.shape[1] for chunk in chunks) == 960


def test_no_torch_is_imported(tmp_path: Path) -> None:
    out = tmp_path / "o.wav"
    speak = "import lina\nvoice = lina.load()\nassert voice.say('Hi.').shape[0] == 1\n"
    say = f"from lina.cli import main\nmain(['say', 'Hi.', '-o', {str(out)!r}, '--device', 'cpu'])\n"
    for code in (speak, say):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH + code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 1000
    needs = "import lina\nlina.load().say('Hi.', best_of=2)\n"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH + needs], capture_output=True, text=True, check=False
    )
    assert "this call needs PyTorch, which is not installed" in done.stderr


CALLS = """
import lina
from lina.cli.app import run_command

calls = (
    lina.load_model,
    lambda: lina.build_backbone("gla", d_model=8, n_layers=1),
    lambda: lina.run("x.yaml"),
    lambda: lina.evaluate("x", "y"),
    lambda: lina.export("x", "y"),
)
for call in calls:
    try:
        call()
    except lina.core.errors.LinaError as error:
        print(error)
print(run_command(["plan", "x.yaml"]))
"""


def test_what_needs_pytorch_says_so_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH + CALLS], capture_output=True, text=True, check=False
    )
    line = "this call needs PyTorch, which is not installed; pip install lina (lina-voice is without it)"
    assert done.stdout.splitlines() == [line] * 5 + ["2"], done.stderr
    assert done.stderr == f"lina: error: {line}\n"


def test_what_graphs_do_not_serve_is_spoken_by_pytorch(
    eager: Voice, caplog: pytest.LogCaptureFixture
) -> None:
    voice = lina.load(device="cpu")
    with caplog.at_level(logging.INFO, "lina.engine"):
        found = voice.say("Why?", best_of=2)
    assert "graphs do not serve best_of; loading PyTorch" in caplog.text
    np.testing.assert_allclose(found, eager.say("Why?", best_of=2).numpy(), atol=1e-4)
    assert voice.speak(["Why?"])[0].audio.shape[0] == 1
    with caplog.at_level(logging.INFO, "lina.engine"):
        voice.say("Why?", top_k=65)
    assert "graphs do not serve a top_k beyond 64" in caplog.text


def test_an_exported_voice_is_spoken_by_graphs(tmp_path: Path) -> None:
    """The layout of ``lina export RUN --graphs`` has its weights at the top, the shipped voice's in a checkpoint."""
    pytest.importorskip("onnxscript")
    resolved = small(tmp_path, "codec.plugin=lina", "backbone.d_model=64", "train.steps=1")
    voice = export(run_spec(resolved, hooks_of()), tmp_path / "voice", graphs=True).path
    assert folder_obstacle(voice) is None
    eager = load_torch(voice, "cpu", backend="eager").say("one", temperature=0.0).numpy()
    code = f"""
import lina
import numpy as np
audio = lina.load({str(voice)!r}, backend="onnx").say("one", temperature=0.0)
np.save({str(tmp_path / "audio.npy")!r}, audio)
"""
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH + code], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "audio.npy"), eager, atol=1e-4)
    weights = voice / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert folder_obstacle(voice) == "its weights are not those that were exported"


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        (lambda: lina.load(device="cpu", settings=["synthesize.seed=1"]), "graphs do not serve settings"),
        (lambda: lina.load(device="cpu", backend="eager"), "backend 'eager' is PyTorch's"),
        (lambda: lina.load(device="cpu", threads=0), "threads is 0"),
        (lambda: lina.load(device="cpu").parameters, "graphs do not serve parameters"),
        (lambda: lina.load(device="cpu").input("Hi.", cast(Any, "a prompt")), "graphs do not serve a prompt"),
    ],
    ids=["settings", "backend", "threads", "parameters", "prompt"],
)
def test_a_fallback_to_pytorch_logs_its_reason(
    use: Callable[[], Any], reason: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lina.speech.voice_loading.load", lambda *_: SimpleNamespace(parameters=1, input=print)
    )
    with caplog.at_level(logging.INFO, "lina.engine"):
        use()
    assert f"{reason}; loading PyTorch" in caplog.text


def test_a_gpu_does_not_serve_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch installed, graphs speak long texts on a machine with a GPU, too."""
    monkeypatch.setattr("lina.speech.loaded.GPUS", ("/",))
    assert _has_gpu()
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not _has_gpu()
    assert lina.load().say("Why? " * 90, max_seconds=0.1).shape[0] == 1


class Remote:
    """A voice in PyTorch, quickly loaded."""

    def __init__(self, device: str) -> None:
        self.engines = SimpleNamespace(device=torch.device(device))

    def stream(self, text: str, **_: Any) -> Iterator[torch.Tensor]:
        yield torch.ones(1, 3)


def test_a_gpu_is_prepared_beside_the_second_call(monkeypatch: pytest.MonkeyPatch) -> None:
    request, permit = threading.Event(), threading.Event()

    def load(*_: Any) -> Remote:
        request.set()
        assert permit.wait(20)
        return Remote("cuda")

    monkeypatch.setattr("lina.speech.loaded._has_gpu", lambda: True)
    monkeypatch.setattr("lina.speech.voice_loading.load", load)
    voice = lina.load()
    first = voice.say("Why?")
    assert not request.is_set()
    np.testing.assert_array_equal(voice.say("Why?"), first)
    assert request.wait(20)
    permit.set()
    voice._loading.join()  # type: ignore[union-attr]
    assert voice.say("Why?").shape == (1, 3)
    assert lina.load().say("Why? " * 100).shape == (1, 3), "a long text is worth the wait"
    np.testing.assert_array_equal(lina.load(device="cpu").say("Why? "), first)


def test_graphs_go_on_where_pytorch_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lina.speech.loaded._has_gpu", lambda: True)
    monkeypatch.setattr("lina.speech.voice_loading.load", lambda *_: Remote("cpu"))
    voice = lina.load()
    long = voice.say("Why? " * 90, max_seconds=0.1)
    assert long.shape[1] > 3
    assert voice.say("Why?").shape[1] > 3


def test_bad_calls(light: LoadedVoice) -> None:
    with pytest.raises(LinaError, match=r"unknown option 'temprature'; did you mean"):
        light.say("Hi.", temprature=1.0)
    with pytest.raises(LinaError, match=r"unknown speaker 'katleen'.*kathleen"):
        light.say("Hi.", speaker="katleen")
    with pytest.raises(LinaError, match="temperature has 2 values, but the codec has 4 codebooks"):
        light.say("Hi.", temperature=[0.5, 0.5])
    with pytest.raises(TextError):
        light.say(" ")
    with pytest.raises(LinaError, match=r"unknown backend 'onxn'.*onnx"):
        lina.load(device="cpu", backend="onxn")  # type: ignore[arg-type]


def test_sentences_of_which_nothing_is_read_are_left_out(
    light: LoadedVoice, caplog: pytest.LogCaptureFixture
) -> None:
    plain = light.say("Yes. No.")
    np.testing.assert_array_equal(light.say("Yes. :D. No."), plain)
    assert "sentence 2 is left out: this run's tokenizer reads nothing of ':D.'" in caplog.text
    np.testing.assert_array_equal(np.concatenate(list(light.read(["Yes.", ":D", "No."])), 1), plain)
    assert light.input(":D") is None
    silent = (":D", ":D\n\n:D.", "<speak><p>:D</p><p>:D</p></speak>")
    calls: list[Callable[[], object]] = [partial(light.say, text) for text in silent]
    calls.append(lambda: light.read([":D", ":D"]))
    for call in calls:
        with pytest.raises(TextError, match="has nothing that this run's tokenizer reads; write words"):
            call()
    pause = '<break time="400ms"/>'
    for text, seconds in ((f"{pause} :D", 0.4), (f":D\n\n:D {pause}", 0.8)):
        np.testing.assert_array_equal(light.say(text), np.zeros((1, round(seconds * light.sample_rate))))


def test_a_sentence_that_is_cut_is_logged(light: LoadedVoice, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lina"):
        light.say("The bridge is closed.", max_seconds=0.2)
    assert "sentence 1 was cut at 0.2 s: 'The bridge is closed.'" in caplog.text


def test_texts_that_come_one_by_one_are_read_when_they_are_needed(light: LoadedVoice) -> None:
    texts, requests = ["The bridge is closed.", "Why?", "Never mind."], []

    def come() -> Iterator[str]:
        for text in texts:
            requests.append((text, threading.current_thread()))
            yield text

    chunks = light.read(come())
    found = [next(chunks)]
    assert requests == [(texts[0], threading.main_thread())]
    found += chunks
    np.testing.assert_array_equal(np.concatenate(found, 1), np.concatenate(list(light.read(texts)), 1))
    assert {thread for _, thread in requests} == {threading.main_thread()}


def test_a_stream_that_is_left_ends_its_thread(light: LoadedVoice) -> None:
    before = threading.active_count()
    chunks = light.stream("The bridge is closed, and nobody knows the reason.")
    next(chunks)
    assert threading.active_count() == before + 1
    del chunks
    assert threading.active_count() == before


def test_weights_in_8_bits_are_multiplied_in_8_bits(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "The bridge is closed, and nobody knows the reason."
    found, exact = (lina.load(device="cpu", backend=one).say(text) for one in ("onnx-int8", "onnx"))
    np.testing.assert_array_equal(lina.load(device="cpu").say(text), found)
    assert found.shape != exact.shape or not np.array_equal(found, exact)
    monkeypatch.setattr("lina.engine.onnx.session.saturates", lambda _: True)
    with caplog.at_level(logging.INFO, "lina"):
        np.testing.assert_array_equal(lina.load(device="cpu").say(text), exact)
    assert "products in float32, for its sums of 8-bit products saturate" in caplog.text
    with pytest.raises(LinaError, match="'onnx-int8' cannot be used: its sums of 8-bit products saturate"):
        lina.load(device="cpu", backend="onnx-int8")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_voice(), tmp_path / "voice"))


def test_graphs_of_other_weights_are_left(copied: Path) -> None:
    assert folder_obstacle(copied) is None
    (file,) = copied.glob("checkpoints/*/model.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert folder_obstacle(copied) == "its weights are not those that were exported"
    file.unlink()
    assert folder_obstacle(copied) == "its weights are not those that were exported"
    shutil.rmtree(copied / FOLDER)
    assert folder_obstacle(copied) == "it has no exported graphs"


def test_graphs_of_another_spec_are_left(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = copied / SPEC_FILE
    spec.write_text(spec.read_text().replace("top_k: 50", "top_k: 7"))
    with caplog.at_level(logging.INFO, "lina.engine"):
        voice = lina.load(copied, device="cpu")
    assert "its spec, tokenizer or speakers are not those that were exported; loading PyTorch" in caplog.text
    assert voice.resolve_options({}).sampling.top_k == 7


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("features",), {}, "features.widest: is missing"),
        (("speech",), [], "speech"),
        (("speech", "decoder_state"), {"state.layers.0": [1, 2**40]}, "larger than any decoder's"),
        (("speech", "synthesize"), {"top_k": "many"}, "synthesize: top_k"),
        (("speech", "tokenizer", "config"), {"accent": "none"}, "tokenizer 'phonemes' cannot be built"),
    ],
    ids=str,
)
def test_damaged_facts_are_named(copied: Path, place: tuple[str, ...], value: Any, named: str) -> None:
    file = copied / FOLDER / FACTS
    facts = json.loads(file.read_text())
    part = facts
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    file.write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=f"{FACTS}: .*{named}.*; export the graphs again"):
        lina.load(copied, device="cpu")


def test_a_damaged_lexicon_is_refused_as_by_pytorch(copied: Path) -> None:
    (copied / "lexicon-0123456789abcdef.tsv").write_text("lina\tlˈinə\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="is damaged"):
        lina.load(copied, device="cpu")


def test_graphs_of_another_model_are_left_by_the_engine(
    copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    facts = copied / FOLDER / FACTS
    facts.write_text(facts.read_text().replace('"key": "', '"key": "0'))
    with caplog.at_level(logging.WARNING, "lina"):
        load_torch(copied, "cpu")
    assert "not used, for these graphs are of another model" in caplog.text


def test_damaged_graphs_and_weights_are_named(copied: Path, tmp_path: Path) -> None:
    (copied / FOLDER / "start.onnx").write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match=r"start\.onnx: onnxruntime cannot load it"):
        lina.load(copied, device="cpu")
    negative = b'{"one":{"dtype":"F32","shape":[1],"data_offsets":[-8,-4]}}'
    headers = (b"{}", b"5", b"[]", b"[" * 9999, negative, b'{"one":{"dtype":"F32"}}')
    files = [len(header).to_bytes(8, "little") + header for header in headers]
    for content in (b"", b"\xff" * 20, *files):
        (tmp_path / "w").write_bytes(content)
        with pytest.raises(CheckpointError, match="restore it"):
            StoredWeights(tmp_path / "w")("one")


def test_stored_weights_are_those_that_pytorch_reads() -> None:
    checkpoint = newest_checkpoint(checkpoint_folder(shipped_voice()))
    assert checkpoint is not None
    stored = StoredWeights(checkpoint.path / "model.safetensors", "lm.")
    for name, value in read_weights(checkpoint, average=True).items():
        np.testing.assert_array_equal(stored(f"lm.{name}"), value.numpy())


def test_a_decoder_that_was_exported_wrongly_is_refused(
    eager: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, codec = read_folder(shipped_voice() / FOLDER), eager.codec
    assert folder is not None
    decoder: Any = codec.decoder  # type: ignore[union-attr]
    compare_decoder(folder, decoder, len(codec.codebook_sizes))
    right = decoder.parallel_forward
    monkeypatch.setattr(
        decoder, "parallel_forward", lambda codes, state: (1.01 * right(codes, state)[0], state)
    )
    with pytest.raises(
        LinaError, match=r"the exported decoder differs from the codec's by .*; 0\.001 is allowed"
    ):
        compare_decoder(folder, decoder, len(codec.codebook_sizes))


def test_the_int8_step_is_near(eager: Voice) -> None:
    """The engine compares its first step with eager's, and refuses one that is far off."""
    loaded = load_torch(shipped_voice(), "cpu", backend="onnx-int8")
    speech = loaded.speak(["The bridge is closed."])[0]
    assert speech.stopped
    assert torch.isfinite(speech.audio).all()
    assert 0.5 < speech.audio.shape[1] / eager.say("The bridge is closed.").shape[1] < 2
