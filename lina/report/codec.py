"""Report section: distance of a trained codec from held-out recordings."""

from lina.report.numbers import duration
from lina.runs.hooks import Section
from lina.runs.records import CodecEvaluation

COLUMNS = ("Codebooks", "Bit/s", "Mel distance", "Spectral distance")


def section(evaluation: CodecEvaluation) -> Section:
    """Render ``codec_evaluation.json`` as a table."""
    head = "".join(f'<th class="number">{name}</th>' for name in COLUMNS)
    rows = "".join(
        f'<tr><td class="number">{one.codebooks}</td><td class="number">{one.bits_per_second:,.0f}</td>'
        f'<td class="number">{one.mel_distance:.3f}</td><td class="number">{one.spectral_distance:.3f}</td></tr>'
        for one in evaluation.distances
    )
    return Section(
        "Distance from held-out recordings",
        f'<p class="note">{evaluation.utterances} utterances, {duration(evaluation.seconds)}, encoded and decoded '
        "whole by the exported codec. Mean differences of log10 spectra; 0 is identical.</p>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>',
    )
