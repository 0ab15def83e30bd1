"""Lyra V2 (google/lyra 1.3.2, Apache-2.0) as a codec to compare with: its three TFLite files, run by ai-edge-litert.

Its SoundStream (Zeghidour et al. 2021, arXiv 2107.03312) works at 16 kHz and 50 frames a second. Its latents are
quantized by its own quantizer (16 entries each, as many stages as wanted), or by residual codebooks fitted to them
later. For measuring only: nothing of lina needs it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from lina.core.audio.codec import validate_audio, validate_codes
from lina.core.errors import DataError, PluginError

STAGES, NATIVE_SIZE, WIDTH = 46, 16, 64
FILES = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")


class Lyra:
    """A whole ``Codec``: mono, 16 kHz. It works frame by frame, with a state inside its interpreters.

    Every row gets new ones: ``reset_all_variables`` leaves some of the state behind (first frames differ).
    """

    sample_rate = 16_000
    hop = 320
    channels = 1
    frame_by_frame = True
    """Encoding and decoding are loops over frames already; neither looks ahead."""

    def __init__(self, folder: Path, codebooks: Path | None = None, stages: int = 16) -> None:
        """The first ``stages`` stages: of its own quantizer, or of ``codebooks``, a .npy file [stages, size, 64].

        Raises:
            DataError: a file is missing, or ``codebooks`` is no such file.
            PluginError: ai-edge-litert is not installed.
        """
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise DataError(f"{folder}: no {missing[0]}; --lyra names a folder with {', '.join(FILES)}")
        self.files = tuple(folder / name for name in FILES)
        self.codebooks = None if codebooks is None else _codebooks(codebooks, stages)
        size = NATIVE_SIZE if self.codebooks is None else self.codebooks.shape[1]
        self.codebook_sizes = (size,) * stages
        if codebooks is not None:
            # Lyra's own quantizer is not used then.
            self.files = (self.files[0], codebooks, self.files[2])
        self._encoder, quantizer, self._decoder = ((folder / name).read_bytes() for name in FILES)
        self._quantizer = _interpreter(quantizer)
        self._to_codes = self._quantizer.get_signature_runner("encode")
        self._to_latent = self._quantizer.get_signature_runner("decode")

    def encode(self, audio: Float[Tensor, "B 1 samples"]) -> Int[Tensor, "B T Q"]:
        """Raises DataError for audio that is not mono or not a multiple of 320 samples."""
        validate_audio(self, audio)
        return torch.from_numpy(np.stack([self._encode(row) for row in audio[:, 0].float().numpy()]))

    def decode(self, codes: Int[Tensor, "B T Q"]) -> Float[Tensor, "B 1 samples"]:
        """Raises DataError for codes out of range."""
        validate_codes(self, codes)
        return torch.from_numpy(np.stack([self._decode(row) for row in codes.numpy()]))[:, None]

    def _encode(self, audio: NDArray[np.float32]) -> NDArray[np.int64]:
        encoder = _interpreter(self._encoder)
        return np.stack([self._quantize(_run(encoder, frame[None])) for frame in audio.reshape(-1, self.hop)])

    def _decode(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        decoder = _interpreter(self._decoder)
        return np.concatenate([_run(decoder, self._latent(frame))[0] for frame in codes])

    def _quantize(self, latent: NDArray[np.float32]) -> NDArray[np.int64]:
        if self.codebooks is None:
            stages = np.array(len(self.codebook_sizes), dtype=np.int32)
            codes = self._to_codes(input_frames=latent, num_quantizers=stages)["output_0"]
            return np.asarray(codes.reshape(-1)[: int(stages)], dtype=np.int64)
        rest = latent.reshape(WIDTH).copy()
        codes = np.empty(len(self.codebooks), dtype=np.int64)
        for stage, entries in enumerate(self.codebooks):
            codes[stage] = np.square(entries - rest).sum(axis=1).argmin()
            rest -= entries[codes[stage]]
        return codes

    def _latent(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        if self.codebooks is not None:
            summed = self.codebooks[np.arange(len(codes)), codes].sum(axis=0)
            return np.asarray(summed, dtype=np.float32).reshape(1, 1, WIDTH)
        indices = np.full((STAGES, 1, 1), -1, dtype=np.int32)
        indices[: len(codes), 0, 0] = codes
        return np.asarray(self._to_latent(encoding_indices=indices)["output_0"])


def _codebooks(path: Path, stages: int) -> NDArray[np.float32]:
    try:
        codebooks = np.load(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as codebooks: {' '.join(str(error).split())}") from None
    if codebooks.ndim != 3 or codebooks.shape[2] != WIDTH or len(codebooks) < stages:
        raise DataError(
            f"{path}: an array {list(codebooks.shape)}; wanted is [stages, entries, {WIDTH}], stages >= {stages}"
        )
    return np.asarray(codebooks[:stages], dtype=np.float32)


def _interpreter(model: bytes) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise PluginError(
            f"--lyra needs the package ai-edge-litert ({error}); pip install ai-edge-litert"
        ) from None
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _run(interpreter: Any, value: NDArray[np.float32]) -> NDArray[np.float32]:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], value)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
