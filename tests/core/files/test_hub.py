"""Addresses on the Hugging Face hub: their form, what is fetched, and one line where it cannot be."""

import errno
import hashlib
import re
import shutil
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from lina.core.errors import DataError
from lina.core.files import hub
from lina.core.files.weights_source import WeightsSource

SOURCE = TypeAdapter(WeightsSource)


def test_an_address_has_parts() -> None:
    assert hub.parse_address("hf://kyutai/mimi@v1.0") == ("kyutai/mimi", "v1.0")
    assert hub.parse_address("hf://kyutai/mimi") == ("kyutai/mimi", None)


@pytest.mark.parametrize(
    "address", ["hf://mimi", "hf://a/b/c", "hf://a/b@", "hf://a/../b", "hf://a/b@../c", "hf://-/b c"]
)
def test_other_forms_are_refused(address: str) -> None:
    with pytest.raises(DataError, match="is no address of the hub; write hf://ORGANIZATION/NAME"):
        hub.fetch(address)


def test_weights_are_a_path_or_a_pinned_address() -> None:
    assert SOURCE.validate_python("weights/mimi") == Path("weights/mimi")
    assert SOURCE.validate_python(Path("weights")) == Path("weights")
    assert SOURCE.validate_python("hf://kyutai/mimi@abc") == "hf://kyutai/mimi@abc"
    with pytest.raises(ValidationError, match="has no revision; add @COMMIT"):
        SOURCE.validate_python("hf://kyutai/mimi")


@pytest.fixture(autouse=True)
def reachable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub answers, but for tests of its absence."""
    if "unreachable" not in request.fixturenames:
        monkeypatch.setattr(hub, "_is_reachable", lambda: True)


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that refuses connections, and no time to wait for it."""
    from huggingface_hub import constants, hf_api, utils

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hf_api, "ENDPOINT", "http://127.0.0.1:9", raising=False)
    monkeypatch.setattr(utils, "ENDPOINT", "http://127.0.0.1:9", raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it tries again"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LINA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_files_are_fetched_into_a_folder_of_their_revision(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    request: dict[str, Any] = {}

    def snapshot(repository: str, *, local_dir: Path, **options: Any) -> str:
        request.update(options, repository=repository)
        local_dir.mkdir(parents=True)
        return str(local_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    folder = hub.fetch("hf://kyutai/mimi@abc", ("config.json",))
    assert folder == hub.local_folder("hf://kyutai/mimi@abc") == cache / "hub" / "kyutai--mimi@abc"
    assert request["repository"] == "kyutai/mimi"
    assert request["revision"] == "abc"
    assert request["allow_patterns"] == ["config.json"]
    assert "*.bin" in request["ignore_patterns"], "pickles could execute code"


class Branch:
    """The hub with a branch whose commits replace each other, and the records that a download keeps of its files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub

        self.commit, self.files, self.listed = "", dict[str, str](), 0
        self.is_online = True
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.download)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self)

    def commit_files(self, commit: str, **files: str) -> None:
        self.commit, self.files = commit, {name.replace("_", "."): text for name, text in files.items()}

    def download(self, repository: str, *, local_dir: Path, allow_patterns: Any, **options: Any) -> str:
        for name, text in self.files.items() if self.is_online else ():
            if allow_patterns and name not in allow_patterns:
                continue
            record = local_dir / ".cache/huggingface/download" / f"{name}.metadata"
            record.parent.mkdir(parents=True, exist_ok=True)
            (local_dir / name).write_text(text)
            git = hashlib.sha1(f"blob {len(text)}\0{text}".encode())
            etag = hashlib.sha256(text.encode()) if name.endswith("safetensors") else git
            record.write_text(f"{self.commit}\n{etag.hexdigest()}\n{time.time()}\n")
        return str(local_dir)

    def list_repo_files(self, repository: str, *, revision: str) -> list[str]:
        self.listed += 1
        if not self.is_online:
            raise ConnectionError("no network")
        assert (repository, revision) == ("a/b", self.commit)
        return list(self.files)


def test_files_that_a_branch_has_no_longer_are_deleted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    branch = Branch(monkeypatch)
    branch.commit_files("1" * 40, config_json="{}", a_safetensors="a", b_txt="b", notes_txt="theirs")
    folder = hub.fetch("hf://a/b")
    hub.fetch("hf://a/b")
    assert branch.listed == 0, "a request where nothing has changed"
    (folder / "own.txt").write_text("mine")
    (folder / "notes.txt").write_text("mine, too")

    branch.commit_files("2" * 40, config_json="{1}", model_safetensors="m")
    assert hub.fetch("hf://a/b") == folder
    left = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert left == ["config.json", "model.safetensors", "notes.txt", "own.txt"]
    assert (folder / "notes.txt").read_text() == "mine, too"


def test_without_a_network_nothing_is_deleted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    branch = Branch(monkeypatch)
    branch.commit_files("1" * 40, config_json="{}", a_safetensors="a")
    hub.fetch("hf://a/b")
    branch.commit_files("2" * 40, config_json="{}", a_safetensors="a")
    folder = hub.fetch("hf://a/b", ["config.json"])
    branch.is_online = False
    assert hub.fetch("hf://a/b") == folder
    assert (folder / "a.safetensors").exists()
    assert branch.listed == 2


def test_without_a_network_it_is_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own error, as it is where nothing can be reached."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as error:
        hub.fetch("hf://kyutai/mimi@abc", ("config.json",))
    assert str(error.value) == (
        "hf://kyutai/mimi@abc: cannot be reached, and is not in the cache; connect to the network, or name a local "
        "folder"
    )


PINNED = f"hf://facebook/encodec_24khz@{'c1' * 20}"


@pytest.mark.usefixtures("unreachable")
def test_a_hub_that_refuses_connections_is_tried_once(
    cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """With a commit, huggingface_hub asks for the list of files six times in half a minute, in eleven lines."""
    with pytest.raises(DataError) as error:
        hub.fetch(PINNED)
    assert str(error.value) == (
        f"{PINNED}: cannot be reached, and is not in the cache; connect to the network, or name a local folder"
    )
    upload_again = "^hf://a/b: cannot be reached; connect to the network, and upload again$"
    with pytest.raises(DataError, match=upload_again):
        hub.read_remote("hf://a/b", "README.md")
    with pytest.raises(DataError, match=upload_again):
        hub.upload(tmp_path, "hf://a/b", "Add")
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")


@pytest.mark.usefixtures("unreachable")
@pytest.mark.parametrize(("address", "warns"), [(PINNED, False), ("hf://a/b", True)])
def test_files_of_an_earlier_call_are_used_without_a_network(
    cache: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    address: str,
    warns: bool,
) -> None:
    folder = hub.local_folder(address)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert hub.fetch(address, ["config.json"]) == folder.resolve()
    line = f"{address}: cannot be reached; its files of an earlier call are used"
    assert [one.getMessage() for one in caplog.records] == [line] * warns
    assert "Returning existing" not in "".join(capfd.readouterr())


def test_an_answer_of_any_status_is_an_answer(monkeypatch: pytest.MonkeyPatch, unreachable: None) -> None:
    import huggingface_hub

    class Session:
        def head(self, url: str, *, timeout: float) -> SimpleNamespace:
            assert (url, timeout < 60) == ("http://127.0.0.1:9", True)
            return SimpleNamespace(status_code=503)

    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    assert hub._is_reachable()


def test_without_the_package_it_is_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        DataError, match=r"hf://a/b: needs huggingface_hub .*pip install 'lina\[hub\]'"
    ) as error:
        hub.fetch("hf://a/b")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("RepositoryNotFoundError", 404, "the hub has no such repository"),
        ("RevisionNotFoundError", 404, "has no such revision"),
        ("GatedRepoError", 403, "access is refused"),
        ("HfHubHTTPError", 401, "access is refused"),
        ("HfHubHTTPError", 500, "failed (HfHubHTTPError: first line); try again later"),
    ],
)
def test_errors_of_the_hub_are_one_line(
    cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, status: int, message: str
) -> None:
    import huggingface_hub

    kind = getattr(huggingface_hub.errors, name)
    error_of_hub = kind.__new__(kind)
    Exception.__init__(error_of_hub, "first line\nsecond line")
    error_of_hub.response = SimpleNamespace(status_code=status)
    monkeypatch.setattr(type(error_of_hub), "__str__", lambda error: "first line\nsecond line")

    def fail(*arguments: Any, **options: Any) -> None:
        raise error_of_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(DataError) as error:
        hub.fetch("hf://a/b")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_is_uploaded_as_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class Api:
        repositories: tuple[Any, ...] = ()

        def create_repo(self, repository: str, *, exist_ok: bool) -> None:
            assert exist_ok
            Api.repositories = (repository,)

        def upload_folder(self, *, repo_id: str, folder_path: Path, **options: Any) -> SimpleNamespace:
            shutil.copytree(folder_path, tmp_path / "there")
            assert Api.repositories == (repo_id,)
            assert options == {
                "revision": None,
                "commit_message": "Add a voice",
                "delete_patterns": ["*.safetensors"],
                "ignore_patterns": ["README.md"],
            }
            return SimpleNamespace(oid="abc")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    (tmp_path / "voice").mkdir()
    (tmp_path / "voice" / "config.json").write_text("{}")
    address = hub.upload(
        tmp_path / "voice", "hf://me/voice", "Add a voice", ("*.safetensors",), ("README.md",)
    )
    assert address == "hf://me/voice@abc"
    assert (tmp_path / "there" / "config.json").exists()


@pytest.mark.parametrize(
    "name", ["RepositoryNotFoundError", "RevisionNotFoundError", "RemoteEntryNotFoundError", None]
)
def test_a_file_of_the_hub_is_read_or_missing(monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    import huggingface_hub

    def download(repository: str, file: str, *, revision: str | None, local_dir: str) -> str:
        if name is not None:
            kind = getattr(huggingface_hub.errors, name)
            raise kind.__new__(kind)
        (Path(local_dir) / file).write_text(f"{file} of {repository} at {revision}")
        return f"{local_dir}/{file}"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    found = hub.read_remote("hf://a/b@c", "README.md")
    assert found == (b"README.md of a/b at c" if name is None else None)


def test_a_file_of_the_hub_without_a_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        DataError, match=r"^hf://a/b: cannot be reached; connect to the network, and upload again$"
    ):
        hub.read_remote("hf://a/b", "README.md")


NETWORK = "cannot be reached"


@pytest.mark.parametrize(
    ("error", "fetched", "uploaded"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "cannot be written (No space left on device); make room or fix its permissions, or set LINA_CACHE",
            "cannot be read (No space left on device); fix this and upload again",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "cannot be written (Permission",
            "cannot be read",
        ),
        (
            RuntimeError("write failed: no space (os error 28)"),
            "cannot be written (No space",
            "cannot be read",
        ),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), NETWORK, NETWORK),
        (OSError(errno.ENETUNREACH, "unreachable"), NETWORK, NETWORK),
        (socket.gaierror(-2, "Name or service not known"), NETWORK, NETWORK),
        (type("ReadTimeout", (type("TransportError", (Exception,), {}),), {})("slow"), NETWORK, NETWORK),
        (
            OSError("odd.\nMore."),
            "failed (OSError: odd.); try again later",
            "failed (OSError: odd.); try again",
        ),
    ],
    ids=repr,
)
def test_errors_of_the_disk_are_not_those_of_the_network(
    error: Exception,
    fetched: str,
    uploaded: str,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub

    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", fail)
    with pytest.raises(DataError, match=re.escape(fetched)) as found:
        hub.fetch("hf://a/b")
    assert "\n" not in str(found.value)
    assert (str(cache) in str(found.value)) == ("written" in fetched)
    with pytest.raises(DataError, match=re.escape(uploaded)) as found:
        hub.upload(tmp_path, "hf://a/b", "Add")
    assert "cache" not in str(found.value)


@pytest.mark.parametrize("name", ["codec/weights.th", "a.BIN", "b.pt", "c.pkl", "d.ckpt"])
def test_pickles_are_not_uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # nothing is created before
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"")
    with pytest.raises(
        DataError, match=f"{file}: is a pickle by its name.*store it as safetensors, or remove it"
    ):
        hub.upload(tmp_path, "hf://a/b", "Add")
