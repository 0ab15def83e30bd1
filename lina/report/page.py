"""``report.html``: one self-contained page about a run, to look at, listen to and pass on."""

from pathlib import Path

from lina.core.hooks import Run, Section, hookimpl


class Report:
    @hookimpl
    def report_sections(self, run: Run) -> list[Section]:
        from lina.core.run_files import read_init
        from lina.report.first_weights import section

        record = read_init(run.directory)
        return [] if record is None else [section(record)]

    @hookimpl
    def write_report(self, run: Run, sections: list[Section]) -> Path:
        # Imported here because the hooks are made for every command, and drawing needs heavy packages.
        from lina.report.render import write

        return write(run, sections)
