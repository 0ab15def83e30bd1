"""Building of recognizer plugins."""

from lina.config.resolve import PluginChoice
from lina.core.errors import PluginError
from lina.core.plugin import RecognizerPlugin
from lina.core.protocols import Recognizer


def build_recognizer(chosen: PluginChoice[RecognizerPlugin]) -> Recognizer:
    """Build a recognizer and check its attributes, so that an outdated plugin fails before it transcribes.

    Raises:
        PluginError: A package or file is missing, or the recognizer does not follow ``lina.core.protocols.Recognizer``.
    """
    recognizer = chosen.plugin.build(config=chosen.config)
    missing = [name for name in ("sample_rate", "language", "transcribe") if not hasattr(recognizer, name)]
    if missing:
        raise PluginError(
            f"{chosen.record}: {type(recognizer).__name__} has no attribute {', '.join(missing)}, which "
            "lina.core.protocols.Recognizer requires (language: ISO 639-1 code of the transcripts, such as en); "
            f"upgrade {chosen.record.distribution}, or add it"
        )
    return recognizer
