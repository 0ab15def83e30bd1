"""Hook plugin that writes ``report.html``, one self-contained page per run."""

from pathlib import Path

from lina.runs.hooks import Run, Section, hookimpl


class Report:
    @hookimpl
    def report_sections(self, run: Run) -> list[Section]:
        from lina.evaluation.records import read_text_set_evaluations
        from lina.report import codec, first_weights, text_sets
        from lina.runs.files import read_codec_evaluation, read_init

        record, distances = read_init(run.directory), read_codec_evaluation(run.directory)
        sections = [] if record is None else [first_weights.section(record)]
        sections += [text_sets.section(*one) for one in read_text_set_evaluations(run.directory)]
        return sections if distances is None else [*sections, codec.section(distances)]

    @hookimpl
    def write_report(self, run: Run, sections: list[Section]) -> Path:
        # Imported here because the hooks are registered for every command, and drawing needs heavy packages.
        from lina.report.render import write

        return write(run, sections)
