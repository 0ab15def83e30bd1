"""Every backend gives what eager gives, for every backbone; needs a GPU."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.audio.codec import decode_stream
from lina.core.errors import LinaError
from lina.core.generation.counter_random import draw_keys, gumbel
from lina.core.generation.guidance import Guided
from lina.core.generation.settings import Repetition, Sampling, Window
from lina.core.generation.stream_key import stream_key
from lina.core.model.cross_attention import CrossAttention, PositionCrossAttention
from lina.core.model.delay_lm import DelayLM
from lina.core.model.text_encoder import TextEncoder
from lina.core.registry import load
from lina.engine.backend_names import GRAPHS, BackendName
from lina.engine.captured_audio import CapturedAudioDecoder
from lina.engine.engine import Engine
from lina.engine.graph import NAMES
from lina.engine.numerics import Numerics
from lina.engine.request import Request, RowResult

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

BACKBONES = ("gated_deltanet", "gla", "kda", "mamba", "mamba2", "retnet", "rwkv6", "rwkv7", "transformer")
SIZES, VOCABULARY, STREAMS = (7, 4, 11), 20, 6


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about itself, from its import on
        torch._dynamo.reset()
        yield


def model_of(name: str, attention: str, gates: str, device: str = "cuda") -> DelayLM:
    """A small model around two pairs of layers, with outputs that are sharp enough to be told apart."""
    plugin: Any = load("backbone", name)
    example = plugin.example()
    width = example["d_model"]
    torch.manual_seed(0)

    def backbone() -> Any:
        return plugin.build(d_model=width, n_layers=2, config=example["config"])

    by_position = attention == "position"
    lm = DelayLM(
        codebook_sizes=SIZES,
        vocab_size=VOCABULARY,
        d_model=width,
        encoder=backbone(),
        decoder=backbone(),
        attention=PositionCrossAttention(width, backbone(), width, True)
        if by_position
        else CrossAttention(width, 2, True),
        text_encoder=TextEncoder(width, 1, 2, 0.0),
        drops_text=True,
    ).eval()
    for table in (lm.txt_embed, lm.rvq_embed, lm.logits_head):
        torch.nn.init.normal_(table.weight, std=1.0)
    if gates == "extreme":
        plugin.extreme(lm.encoder)
        plugin.extreme(lm.decoder)
    return lm.requires_grad_(False).to(device)


def requests(lm: Any) -> list[Request]:
    """Streams that differ in text, window, prompt and repetition."""
    found = []
    for number in range(STREAMS):
        generator = torch.Generator().manual_seed(number)
        text = torch.randint(1, VOCABULARY, (1, 5 + 6 * number), generator=generator).cuda()
        prompt = torch.stack([torch.randint(0, size, (3,), generator=generator) for size in SIZES], 1)
        found.append(
            Request(
                lm.conditions(text, torch.ones_like(text, dtype=torch.bool)),
                Sampling([1.0, 0.8, 0.0], top_k=5, top_p=[0.9, None, None]),
                max_frames=40,
                key=stream_key(1, number),
                prompt=prompt if number == 2 else None,
                window=Window(3, 1, 0.4, 5, 2, 6) if number % 2 else None,
                repetition=Repetition(5, 0.4) if number == 3 else None,
            )
        )
    return found


def decoded(lm: Any, backend: BackendName, many: list[Request], slots: int = 4) -> list[RowResult]:
    engine = Engine(lm, slots, backend=backend)
    results = list(engine.run(many))
    assert engine.backend_name == NAMES.get(backend, backend)
    return results


def assert_same(some: list[RowResult], others: list[RowResult]) -> None:
    for one, other in zip(some, others, strict=True):
        assert torch.equal(one.codes, other.codes)
        assert (one.stopped, one.ended_by_window) == (other.stopped, other.ended_by_window)
        torch.testing.assert_close(one.attention, other.attention, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("gates", ["ordinary", "extreme"])
@pytest.mark.parametrize("attention", ["position", "plain"])
@pytest.mark.parametrize("name", BACKBONES)
def test_a_graph_decodes_as_eager_does(name: str, attention: str, gates: str) -> None:
    lm = model_of(name, attention, gates)
    eager = decoded(lm, "eager", requests(lm))
    assert_same(decoded(lm, "graph", requests(lm)), eager)
    if gates == "ordinary":
        assert_same(decoded(lm, "reference-graph", requests(lm)), eager)


@pytest.mark.parametrize("name", BACKBONES)
def test_compiled_code_decodes_as_eager_does(name: str) -> None:
    lm = model_of(name, "position", "ordinary")
    assert_same(decoded(lm, "compiled", requests(lm)), decoded(lm, "eager", requests(lm)))


@pytest.mark.parametrize("slots", [1, 5])
@pytest.mark.parametrize("name", ["gla", "rwkv7"])
def test_any_slot_company_and_order(name: str, slots: int) -> None:
    lm = model_of(name, "plain", "ordinary")
    many = requests(lm)
    some = decoded(lm, "graph", many, slots)
    others = decoded(lm, "graph", many[::-1], slots)[::-1]
    for one, other in zip(some, others, strict=True):
        assert torch.equal(one.codes, other.codes)


def test_guided_streams() -> None:
    guided = Guided(model_of("gla", "plain", "ordinary"), 2.0)
    assert_same(decoded(guided, "graph", requests(guided)), decoded(guided, "eager", requests(guided)))


@pytest.mark.parametrize("name", ["gla", "gated_deltanet", "rwkv7"])
def test_reduced_precision_passes_its_check(name: str) -> None:
    lm = model_of(name, "plain", "ordinary")
    engine = Engine(lm, 4, backend="graph", numerics=Numerics(torch.bfloat16, torch.bfloat16))
    results = list(engine.run(requests(lm)))
    assert engine.backend_name == "CUDA graph"
    assert all(1 <= len(one.codes) <= 40 for one in results)


def test_random_numbers_are_those_of_the_cpu() -> None:
    keys, frames = torch.arange(100) * 977, torch.arange(100)
    drawn: Tensor = draw_keys(keys.cuda(), frames.cuda(), 9)
    assert torch.equal(drawn.cpu(), draw_keys(keys, frames, 9))
    tokens = torch.arange(1027).expand(*drawn.shape, -1)
    noise = gumbel(drawn, tokens.cuda())
    torch.testing.assert_close(noise.cpu(), gumbel(drawn.cpu(), tokens), atol=1e-14, rtol=1e-14)


def test_a_model_that_waits_for_the_gpu_cannot_be_captured(caplog: pytest.LogCaptureFixture) -> None:
    """``auto`` goes on with eager; a backend that is forced fails in one line."""
    lm = model_of("gla", "plain", "ordinary")
    step = lm.encoder.layers[0].step
    lm.encoder.layers[0].fused_step = lambda: None

    def waits(x: Tensor, state: Any) -> Any:
        return step(x + float(x.sum()) * 0, state)

    lm.encoder.layers[0].step = waits
    many = requests(lm)[:2]
    engine = Engine(lm, 2)
    results = list(engine.run(many))
    assert engine.backend_name == "eager"
    assert "cannot be captured" in caplog.text
    assert all(len(one.codes) for one in results)
    for name in GRAPHS:
        with pytest.raises(
            LinaError, match=rf"backend '{name}' cannot capture the step .*; use eager or auto"
        ):
            list(Engine(lm, 2, backend=name).run(many))


def test_a_graph_that_differs_from_eager_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lm = model_of("gla", "plain", "ordinary")
    expected = decoded(lm, "eager", requests(lm))
    from lina.core.model import stack

    right = stack.BlockStep.forward
    monkeypatch.setattr(stack.BlockStep, "forward", lambda self, x, state: 1.1 * right(self, x, state))
    with pytest.raises(LinaError, match=r"backend 'graph' failed its check \(it differs from eager by"):
        list(Engine(lm, 4, backend="graph").run(requests(lm)))
    monkeypatch.setattr("lina.engine.backend.LITTLE_STATE", 0)
    engine = Engine(lm, 4)
    assert_same(list(engine.run(requests(lm))), expected)
    assert engine.backend_name == "eager"
    assert "failed its check" in caplog.text


def lina_decoder() -> Any:
    plugin: Any = load("codec", "lina")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return plugin.build(**plugin.example())


def test_captured_audio_is_that_of_the_codec() -> None:
    """Streams of different length, more than there are slots; and one that goes on over three requests."""
    lm, codec = model_of("gla", "plain", "ordinary"), lina_decoder()
    engine = Engine(lm, 4, backend="graph", decoder=codec.decoder_on(torch.device("cuda")))
    many = requests(lm)
    for first in range(0, len(many), 4):
        group = [replace(one, audio=engine.open_audio()) for one in many[first : first + 4]]
        for stream in [engine.submit(one) for one in group]:
            audio = torch.cat(list(stream.audio()), 1)
            expected = decode_stream(codec.decoder, stream.result().codes[None])[0]
            torch.testing.assert_close(audio, expected, atol=1e-4, rtol=1e-4)
    assert isinstance(engine.audio, CapturedAudioDecoder)
    prompt = torch.stack([torch.randint(0, size, (5,)) for size in SIZES], 1)
    long, pieces, codes = engine.open_audio(prompt, continues=True), [], [prompt]
    for one in many[:3]:
        stream = engine.submit(replace(one, audio=long))
        pieces += list(stream.audio())
        codes.append(stream.result().codes)
    pieces += list(engine.finish_audio(long))
    expected = decode_stream(codec.decoder, torch.cat(codes)[None])[0][:, 5 * codec.hop :]
    torch.testing.assert_close(torch.cat(pieces, 1), expected, atol=1e-4, rtol=1e-4)


def test_fused_kernels_are_used_once_they_are_ready() -> None:
    """A small model begins without them; between requests the engine goes over, with the same tokens."""
    lm = model_of("gla", "plain", "ordinary")
    expected = decoded(lm, "eager", requests(lm))
    engine = Engine(lm, 2)
    assert_same(list(engine.run(requests(lm)[:1])), expected[:1])
    assert engine.backend_name == NAMES["reference-graph"]
    for _ in range(2):
        assert_same([next(iter(engine.run([one]))) for one in requests(lm)], expected)
        assert engine._preparation is not None
        engine._preparation.join()
        assert engine._preparation.ready
    assert engine.backend_name == NAMES["graph"]
