"""Run the code cells of a Jupyter notebook in order, without Jupyter."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

Tool = Callable[[list[str]], tuple[int, str]]


def run_notebook(path: Path, tools: dict[str, Tool]) -> dict[str, Any]:
    """Run a notebook in the current folder, and return its names.

    ``%%writefile FILE`` writes a cell; ``!program`` and ``%program`` lines are run by ``tools`` and must succeed.
    """
    names: dict[str, Any] = {"__name__": "notebook"}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert not cell["outputs"], f"{path.name}: {cell['id']} is stored with its output; clear it"
        source = "".join(cell["source"])
        if source.startswith("%%writefile "):
            head, _, text = source.partition("\n")
            file = Path(head.split()[1])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")
        elif source.startswith(("!", "%")):
            program, *arguments = shlex.split(source[1:])
            code, output = tools[program](arguments)
            assert code == 0, output
        else:
            exec(compile(source, f"{path.name}:{cell['id']}", "exec"), names)
    return names
