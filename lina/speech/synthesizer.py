"""The part of a voice that synthesis of segments, batches and long texts uses."""

from typing import Any, Protocol

from lina.config.resolve import ResolvedSpec
from lina.core.audio.codec import AnyCodec
from lina.core.generation.guidance import LanguageModel
from lina.core.model.delay_lm import LMState
from lina.core.protocols import Tokenizer
from lina.engine.request import Request
from lina.speech.engines import Engines
from lina.speech.options import SpeechOptions
from lina.speech.prompt import Prompt
from lina.speech.synthesis_input import SynthesisInput


class Synthesizer(Protocol):
    """``lina.speech.voice.Voice``, as its parts see it."""

    resolved: ResolvedSpec
    codec: AnyCodec
    tokenizer: Tokenizer
    engines: Engines
    threads: int | None

    def resolve_options(self, options: dict[str, Any]) -> SpeechOptions: ...

    def input(self, text: str, prompt: Prompt | None = None) -> SynthesisInput | None: ...

    def language_model(self, options: SpeechOptions) -> LanguageModel: ...

    def requests(
        self,
        item: SynthesisInput,
        options: SpeechOptions,
        place: tuple[int, int],
        state: LMState | None = None,
        carry: bool = False,
    ) -> list[Request]: ...
