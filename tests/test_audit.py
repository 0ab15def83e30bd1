"""The audit of CI: vulnerabilities fail, a missing network does not."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("make", "code", "line"),
    [
        ("echo No known vulnerabilities found", 0, "audit: no known vulnerability in lock.txt"),
        (
            "echo 'tzdata  Dependency not found on PyPI and could not be audited: tzdata (2026.6)' >&2",
            0,
            "audit: no known vulnerability, but 1 versions of lock.txt were not found and could not be audited",
        ),
        (
            "echo 'Found 2 known vulnerabilities in 1 package'; echo 'jinja2 3.1.0 PYSEC-1'; exit 1",
            1,
            "jinja2 3.1.0 PYSEC-1\naudit: raise these versions in lock.txt (make lock)",
        ),
        (
            "echo 'ERROR: Could not connect to PyPI' >&2; exit 1",
            0,
            "audit: not done, the advisories were not reached: ERROR: Could not connect to PyPI",
        ),
    ],
)
def test_vulnerabilities_fail_and_a_missing_network_does_not(
    tmp_path: Path, make: str, code: int, line: str
) -> None:
    fake = tmp_path / "make"
    fake.write_text(f'#!/bin/sh\n[ "$1" = audit ] || exit 9\n{make}\n')
    fake.chmod(0o755)
    done = subprocess.run(
        ["bash", ROOT / ".ci" / "audit"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )
    assert done.returncode == code
    assert line in done.stdout


def test_ci_audits() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert ".ci/audit &" in script
    assert 'wait "$audit"' in script
