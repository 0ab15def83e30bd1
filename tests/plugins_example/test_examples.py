"""The example packages as their authors and users meet them: installed, checked, named in a spec."""

import json
from pathlib import Path

import pytest
import soundfile
import torch
from torch import nn

from lina.cli.new import files_of
from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.core.audio.codec import AnyCodec, decode, encode
from lina.core.errors import SpecError, TextError
from lina.core.registry import load
from lina.pipeline.speech_job import run_spec
from lina.runs.files import read_samples
from lina.runs.hook_manager import build_manager
from tests.cli.conftest import Lina
from tests.fakes import FakeDistributions

ROOT = Path(__file__).parents[2]
EXAMPLES = {"backbone": "hgrn2", "codec": "vocoder", "tokenizer": "letters"}
SAMPLE = ROOT / "data/asterisk-sample"


@pytest.fixture(autouse=True)
def installed(distributions: FakeDistributions) -> None:
    for role in EXAMPLES:
        distributions.install_project(ROOT / "plugins_example" / role)


@pytest.mark.parametrize(("role", "name"), EXAMPLES.items())
def test_every_law_is_kept(lina: Lina, role: str, name: str) -> None:
    done = lina("check", name)
    assert done.code == 0, done.out
    assert done.out.startswith(f"{role}:{name} (lina-{name} 0.1.0, lina_{name}:")
    assert " 0 failed" in done.out


@pytest.mark.parametrize(
    ("name", "passed"), [("loss:slow", 8), ("schedule:inverse_root", 3), ("hook:norms", 6)]
)
def test_laws_of_research(lina: Lina, distributions: FakeDistributions, name: str, passed: int) -> None:
    distributions.install_project(ROOT / "plugins_example/research")
    for spelled in (name, name.partition(":")[2]):
        done = lina("check", spelled)
        assert done.code == 0, done.out
        assert f"{passed} passed, 0 failed" in done.out


@pytest.mark.parametrize(("role", "name"), EXAMPLES.items())
def test_a_package_is_what_lina_new_gives(role: str, name: str) -> None:
    """All of it, but for the mathematics of the backbone."""
    written = files_of(role, name)
    if role == "backbone":
        del written["lina_hgrn2.py"]
    for path, text in written.items():
        assert (ROOT / "plugins_example" / role / path).read_text() == text, path


def tiny(folder: Path) -> list[str]:
    """Overrides that make a run of specs/first.yaml one of seconds, on three of its recordings."""
    lines = [json.loads(line) for line in (SAMPLE / "manifest.jsonl").read_text().splitlines()]
    shortest = sorted(lines, key=lambda line: (SAMPLE / line["audio"]).stat().st_size)[:3]
    manifest = folder / "manifest.jsonl"
    manifest.write_text(
        "".join(json.dumps(line | {"audio": str(SAMPLE / line["audio"])}) + "\n" for line in shortest)
    )
    return [
        f"data.config={{path: {manifest}, allow_outside: true}}",
        f"train.out={folder / 'run'}",
        "backbone.d_model=32",
        "backbone.n_layers=1",
        "text.layers=1",
        "text.position_dim=16",
        "train.steps=2",
        "train.warmup=1",
        "train.batch_seconds=6",
        "train.precision=float32",
        "evaluate={recognizer: null, sentences: 0, unseen: []}",
        "synthesize={texts: [Please wait.], max_seconds: 0.3}",
    ]


@pytest.mark.parametrize("role", ["backbone", "codec"])
def test_a_spec_that_names_it_trains_and_speaks(role: str, tmp_path: Path) -> None:
    spec = load_spec(ROOT / f"plugins_example/{role}/spec.yaml", tiny(tmp_path))
    assert getattr(spec, role).plugin == EXAMPLES[role]
    directory = run_spec(resolve(spec), build_manager([]).hook)
    (sample,) = read_samples(directory)
    speech = soundfile.info(directory / sample.audio)
    assert 0.02 <= speech.duration <= 0.3
    assert speech.samplerate == {"backbone": 24_000, "codec": 16_000}[role]


def test_the_backbone_refuses_a_width_that_its_heads_cannot_share() -> None:
    plugin = load("backbone", "hgrn2")
    with pytest.raises(SpecError, match="d_model = 30 is not a multiple of n_heads = 4"):
        plugin.build(d_model=30, n_layers=1, config=plugin.Config())


def test_deeper_layers_of_the_backbone_forget_less() -> None:
    plugin = load("backbone", "hgrn2")
    stack = plugin.build(d_model=8, n_layers=4, config=plugin.Config.model_validate({"n_heads": 1}))
    assert isinstance(stack, nn.Module)
    floors = [stack.get_buffer(f"layers.{layer}.tmix.floor") for layer in range(4)]
    assert [float(floor) for floor in floors] == [0.0, 0.25, 0.5, 0.75]


class TestVocoder:
    @pytest.fixture
    def codec(self) -> AnyCodec:
        plugin = load("codec", "vocoder")
        return plugin.build(config=plugin.Config())

    def test_a_tone_comes_back_as_noise_of_its_loudness_and_pitch_region(self, codec: AnyCodec) -> None:
        time = torch.arange(16_000) / 16_000
        tone = (0.3 * torch.sin(2 * torch.pi * 1000 * time))[None, None]
        audio = decode(codec, encode(codec, tone))
        middle = audio[0, 0, 2000:-2000]
        assert 0.5 < float(middle.square().mean() / tone.square().mean()) < 2
        spectrum = torch.fft.rfft(middle).abs().square()
        hertz = torch.linspace(0, 8000, len(spectrum))
        near = spectrum[(hertz > 700) & (hertz < 1400)].sum() / spectrum.sum()
        assert float(near) > 0.9

    def test_silence_is_silent(self, codec: AnyCodec) -> None:
        codes = encode(codec, torch.zeros(1, 1, 3200))
        assert int(codes.max()) == 0
        assert float(decode(codec, codes).abs().max()) == 0.0

    def test_decoding_gives_the_same_each_time(self, codec: AnyCodec) -> None:
        codes = torch.full((1, 9, 20), 17)
        assert torch.equal(decode(codec, codes), decode(codec, codes))


class TestLetters:
    def read(self, text: str, **config: bool) -> str:
        plugin = load("tokenizer", "letters")
        reader = plugin.build(config=plugin.Config(**config))
        return "".join(reader.labels(reader.parallel_forward(text)))

    @pytest.mark.parametrize(
        ("text", "read"),
        [
            ("", "END"),
            (" \t\n", "END"),
            ("  Hello,\n  World! ", "hello,_world!END"),
            ("d\u00e9j\u00e0 vu", "deja_vuEND"),
            ("de\u0301ja", "dejaEND"),
            ("it\u2019s\u2026", "it's...END"),
        ],
    )
    def test_letters_are_plain(self, text: str, read: str) -> None:
        assert self.read(text) == read

    def test_punctuation_may_be_left_out(self) -> None:
        assert self.read("well, well... no!", punctuation=False) == "well_well_noEND"

    @pytest.mark.parametrize(
        ("text", "named"), [("at 9", "'9'"), ("\u00df", r"'\\xdf'"), ("a\x00", r"'\\x00'")]
    )
    def test_characters_without_reading_are_named(self, text: str, named: str) -> None:
        with pytest.raises(TextError, match=f"letters does not read {named}; write it in letters"):
            self.read(text)
