"""How far a trained codec is from held-out recordings, as a section of the report."""

from lina.report.numbers import duration
from lina.runs.hooks import Section
from lina.runs.records import CodecEvaluation

COLUMNS = ("Codebooks", "Bit/s", "Mel distance", "Spectral distance")


def section(evaluation: CodecEvaluation) -> Section:
    """The table of ``codec_evaluation.json``."""
    head = "".join(f'<th class="number">{name}</th>' for name in COLUMNS)
    rows = "".join(
        f'<tr><td class="number">{one.codebooks}</td><td class="number">{one.bits_per_second:,.0f}</td>'
        f'<td class="number">{one.mel_distance:.3f}</td><td class="number">{one.spectral_distance:.3f}</td></tr>'
        for one in evaluation.distances
    )
    return Section(
        "Distance from held-out recordings",
        f'<p class="note">{evaluation.utterances} utterances, {duration(evaluation.seconds)}, coded and decoded whole '
        "by the exported codec. Mean differences of logarithms (base 10); 0 is the same.</p>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>',
    )
