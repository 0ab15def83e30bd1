"""Graphs of a run for onnxruntime: in a run, for lina itself, or as a folder for other programs.

``write_voice_graphs`` writes those of a run or a voice into its folder ``onnx``; the language model's weights stay in
the checkpoint. ``export_graphs`` writes a folder by itself (``lina export --onnx``), whose graphs name one file of
float32 weights, so that onnxruntime alone can load them.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from lina.config.resolve import as_written
from lina.config.run_files import TOKENIZER_FILE
from lina.core.audio.codec import frame_rate
from lina.core.errors import DataError, LinaError
from lina.core.extreme_gates import saturate
from lina.core.files.atomic import write_atomic
from lina.core.files.checks import sha256
from lina.core.files.json_file import read_json
from lina.core.protocols import DecoderStream, StreamingCodec, implements
from lina.core.state import leaves, named_leaves
from lina.engine.compare import worst_difference
from lina.engine.onnx.check import LIMIT
from lina.engine.onnx.decoder import STATE, export_decoder
from lina.engine.onnx.export import Rules, obstacle
from lina.engine.onnx.feedback import Feedback
from lina.engine.onnx.files import (
    AUDIO,
    CHECK_INT8,
    CODEC,
    CODES,
    DECODER_WEIGHTS,
    DECODERS,
    FACTS,
    FOLDER,
    LM,
    STEP_INT8,
    WEIGHTS,
    GraphFolder,
)
from lina.engine.onnx.rewrite import point_at
from lina.engine.onnx.session import Graphs
from lina.engine.onnx.write import write_graphs
from lina.engine.state import Features, first_state
from lina.runs.checkpoint import weights_file
from lina.runs.checkpoint_store import INDEX, find_checkpoint
from lina.speech.graph_key import graph_key
from lina.speech.graph_loading import inputs_of
from lina.speech.synthesis_input import SynthesisInput
from lina.speech.voice import Voice
from lina.speech.voice_loading import load

SORTED = 64
"""Tokens that the step sorts, at least, so that a call may raise the spec's top_k a little."""
EXAMPLES = Path(__file__).parent / "onnx_example"
"""Programs that speak with the graphs of their folder; they are copied beside them."""
FRAMES = 12
"""Over which the exported decoder is compared."""
ALIGNMENT = 64
"""Bytes: onnxruntime maps weights into memory where they are aligned."""


def write_voice_graphs(directory: Path) -> GraphFolder:
    """Write the graphs of a run or a voice into its folder ``onnx``, in place of any that are there.

    Raises:
        LinaError: as ``lina.engine.onnx.write.write_graphs``, or the codec's decoder cannot be exported.
    """
    voice, folder = load(directory, "cpu", backend="eager"), directory / FOLDER
    weights = _weights_of(directory)  # which may refuse the model: before the work of exporting it
    temporary = directory / f".{FOLDER}.{os.getpid()}.part"
    try:
        key = graph_key(voice.resolved, voice.model)
        own = {"key": key, "weights": weights, "inputs": inputs_of(directory)}
        found = _write(voice, directory, temporary, DECODERS, own)
        tensors = _decoder_weights(voice, found.facts["outside"][DECODERS[1]])
        # In half the bytes where nothing is lost, as with lina's own codec, whose files are in bfloat16.
        exact = all(torch.equal(one.bfloat16().float(), one) for one in tensors.values())
        stored = {name: one.bfloat16() if exact else one for name, one in tensors.items()}
        save_file(stored, temporary / DECODER_WEIGHTS)
        (temporary / DECODER_WEIGHTS).chmod(0o644)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return GraphFolder(folder, json.loads((folder / FACTS).read_bytes()))


def export_graphs(run: Path, out: Path) -> int:
    """Write the graphs of a run, all weights in float32, and ``facts.json`` into the new folder ``out``.

    Returns the bytes of all files together. Atomic: written under a temporary name, then renamed.

    Raises:
        LinaError: as ``write_voice_graphs``.
        DataError: ``out`` exists already, or its parent folder does not exist.
    """
    if out.exists():
        raise DataError(f"{out}: exists already; name a new directory")
    if not out.parent.is_dir():
        raise DataError(f"{out}: there is no folder {out.parent}; create it first")
    if (reason := obstacle()) is not None:
        raise LinaError(f"onnx: cannot export: {reason}")
    import onnx

    voice = load(run, "cpu", backend="eager")
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        folder = _write(voice, run, temporary, (1,), {})
        tensors = {LM + name: one.float() for name, one in voice.model.state_dict().items()}
        tensors |= _decoder_weights(voice, folder.facts["outside"][DECODERS[1]])
        left_out = (STEP_INT8, CHECK_INT8)
        names = [name for name in folder.facts["outside"] if name not in left_out]
        used = {one for name in names for one in folder.facts["outside"][name]}
        places = _write_weights({name: tensors[name] for name in sorted(used)}, temporary / WEIGHTS)
        for name in names:
            model = onnx.load(temporary / name, load_external_data=False)
            point_at(model, places)
            write_atomic(temporary / name, model.SerializeToString())
        for name in left_out:
            (temporary / name).unlink()
        facts = {key: value for key, value in folder.facts.items() if key != "outside"}
        write_atomic(temporary / FACTS, json.dumps(facts, indent=1, ensure_ascii=False).encode())
        for example in EXAMPLES.iterdir():
            if example.is_file():
                shutil.copyfile(example, temporary / example.name)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sum(path.stat().st_size for path in out.iterdir())


def _write(
    voice: Voice, directory: Path, path: Path, frames: Iterable[int], facts: Mapping[str, Any]
) -> GraphFolder:
    """The graphs without weights; ``frames``: of ``DECODERS``, which are exported; ``facts``: further ones."""
    spec, codec = voice.resolved.spec, voice.codec
    if not implements(codec, StreamingCodec):
        raise LinaError(
            f"onnx: the codec {spec.codec.plugin!r} decodes whole utterances, and only a streaming decoder is exported"
        )
    decoder = codec.decoder  # type: ignore[union-attr]
    if decoder.latency:
        raise LinaError(
            f"onnx: the decoder of codec {spec.codec.plugin!r} has a latency of {decoder.latency} frames; "
            "only decoders without latency are exported"
        )
    begins = named_leaves(decoder.initial_state(1)).values()
    if any(leaf.dtype != torch.float32 or leaf.any() for leaf in begins):  # as facts.json describes them
        raise LinaError(
            f"onnx: the decoder of codec {spec.codec.plugin!r} begins with a state other than zeros in float32; "
            "only decoders that begin with those are exported"
        )
    options = voice.resolve_options({})
    folder = write_graphs(
        path,
        voice.model,
        widest=_widest(voice),
        rules=Rules(options.window(frame_rate(codec)), options.repetition),
        extreme=saturate
        if voice.resolved.layers or voice.resolved.after
        else voice.resolved.backbone.plugin.extreme,
        others={DECODERS[one]: export_decoder(decoder, len(codec.codebook_sizes), one) for one in frames},
        facts={**facts, "speech": _facts(voice, directory)},
    )
    for one in frames:
        compare_decoder(folder, decoder, len(codec.codebook_sizes), one)
    return folder


@torch.no_grad()
def compare_decoder(folder: GraphFolder, decoder: DecoderStream, codebooks: int, frames: int = 1) -> None:
    """Compare the exported decoder of ``frames`` frames with the codec's own over ``FRAMES`` frames of codes.

    Raises:
        LinaError: they differ.
    """
    own: dict[str, Tensor] = decoder.state_dict()  # type: ignore[attr-defined]
    graphs = Graphs(folder, lambda name: own[name.removeprefix(CODEC)].float().numpy())
    state = {STATE + name: leaf.numpy() for name, leaf in named_leaves(decoder.initial_state(1)).items()}
    sound = Feedback(
        graphs.graph(DECODERS[frames]), state | {CODES: np.zeros((1, frames, codebooks), np.int64)}, [AUDIO]
    )
    codes = torch.arange(FRAMES * codebooks).view(1, FRAMES, codebooks) % 2
    found = []
    for some in codes.split(frames, dim=1):
        sound.values[CODES][...] = some.numpy()
        found.append(torch.from_numpy(sound.run()[AUDIO].copy()))
    expected, after = decoder.parallel_forward(codes, decoder.initial_state(1))
    new = [torch.from_numpy(sound.values[name]) for name in state]
    worst = worst_difference(expected, torch.cat(found, -1), leaves(after), new)
    if not worst <= LIMIT:
        raise LinaError(
            f"onnx: the exported decoder differs from the codec's by {worst:.2g}, relative root mean square; "
            f"{LIMIT:g} is allowed"
        )


def _weights_of(directory: Path) -> dict[str, str]:
    """The file of the language model's weights."""
    checkpoint = find_checkpoint(directory)
    assert checkpoint is not None
    path, _ = weights_file(checkpoint, average=True)
    if path.name == INDEX:
        raise LinaError(
            f"{directory}: graphs are for models of one weights file; leave out --graphs, or use backend auto"
        )
    return {"file": path.relative_to(directory).as_posix(), "sha256": sha256(path)}


def _facts(voice: Voice, directory: Path) -> dict[str, Any]:
    """All that speaking needs besides graphs: sizes, speakers, the tokenizer, and how the spec has texts spoken."""
    spec, codec, options = voice.resolved.spec, voice.codec, voice.resolve_options({})
    codebooks = len(codec.codebook_sizes)
    item = SynthesisInput("", [0], 0, torch.zeros(0, codebooks, dtype=torch.int64))
    request = voice.requests(item, options, (0, 0))[0]
    row = named_leaves(first_state(voice.model, [request], Features.of([request], codebooks)))
    decoder = named_leaves(codec.decoder.initial_state(1))  # type: ignore[union-attr]
    speakers = list(voice.speakers)
    return {
        "sample_rate": codec.sample_rate,
        "hop": codec.hop,
        "channels": codec.channels,
        "codebook_sizes": list(codec.codebook_sizes),
        "parameters": voice.parameters,
        "speakers": speakers,
        "default_speaker": 1 if speakers and not spec.conditions.drop_speaker else 0,
        "max_characters": spec.text.max_characters,
        "tokenizer": _tokenizer(voice, directory),
        "synthesize": spec.synthesize.model_dump(mode="json", exclude={"texts", "lexicon"}),
        "rules": {name: row[name].tolist() for name in row if name.startswith(RULES)},
        "decoder_state": {STATE + name: list(leaf.shape) for name, leaf in decoder.items()},
    }


def _tokenizer(voice: Voice, directory: Path) -> dict[str, Any] | None:
    """The tokenizer as text; None for one that reads files, which graphs do not bring along."""
    chosen = voice.resolved.tokenizer
    if any(isinstance(value, Path) for value in chosen.config.model_dump().values()):
        return None
    return {
        "plugin": voice.resolved.spec.tokenizer.plugin,
        "config": as_written(chosen.config),
        "trained": read_json(directory / TOKENIZER_FILE)["trained"],
        "unknown": voice.resolved.spec.synthesize.unknown,
    }


RULES = ("sampling.", "length", "key")
"""Leaves of a stream's state that the start of a text does not give."""


def _widest(voice: Voice) -> int | None:
    widest = voice.resolve_options({}).sampling.widest(len(voice.codec.codebook_sizes))
    return None if widest is None else max(SORTED, widest)


def _decoder_weights(voice: Voice, names: Sequence[str]) -> dict[str, Tensor]:
    own: dict[str, Tensor] = voice.codec.decoder.state_dict()  # type: ignore[union-attr]
    return {name: own[name.removeprefix(CODEC)].detach().float().contiguous() for name in names}


def _write_weights(tensors: dict[str, Tensor], path: Path) -> dict[str, tuple[int, int]]:
    """Write a safetensors file with aligned tensors; returns the offset and length in bytes of each in the file."""
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end + size]}
        end += size
        missing = -end % ALIGNMENT
        if missing:  # the format allows no holes
            offsets = [end, end + missing]
            header[f"{name}|pad"] = {"dtype": "U8", "shape": [missing], "data_offsets": offsets}
            end += missing
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            data = np.ascontiguousarray(tensor.numpy()).tobytes()
            file.write(data + bytes(-len(data) % ALIGNMENT))
    first = 8 + len(text)
    places = {name: header[name]["data_offsets"] for name in tensors}
    return {name: (first + start, stop - start) for name, (start, stop) in places.items()}
