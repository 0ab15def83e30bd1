import subprocess
import sys
from pathlib import Path

import pluggy

from lina.report.page import Report
from lina.report.progress import ProgressBars
from lina.report.tensorboard import TensorBoard
from lina.runs.hooks import Hooks, Run
from tests.report.fake_run import fake_spec


def test_all_hooks_are_specified_and_the_report_is_written_through_them(tmp_path: Path) -> None:
    manager = pluggy.PluginManager("lina")
    manager.add_hookspecs(Hooks)
    for plugin in (Report(), ProgressBars(), TensorBoard()):
        assert manager.register(plugin)
        assert manager.get_hookcallers(plugin)
    manager.check_pending()
    run = Run(tmp_path, fake_spec("a"))
    manager.hook.step_done(run=run, step=1, metrics={"loss": 1.0})
    manager.hook.checkpoint_written(run=run, step=1, path=tmp_path)
    assert manager.hook.write_report(run=run, sections=[]) == [tmp_path / "report.html"]
    manager.hook.run_finished(run=run)
    assert list((tmp_path / "tensorboard").iterdir())


def test_making_the_plugins_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from lina.report import page, progress, tensorboard\n"
        "page.Report(), progress.ProgressBars(), tensorboard.TensorBoard()\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'jinja2', 'rich', 'tensorboardX', 'soundfile', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout == "[]\n"
