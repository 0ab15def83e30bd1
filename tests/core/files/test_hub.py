"""Addresses on the Hugging Face hub: their form, what is fetched, and one line where it cannot be."""

import errno
import re
import shutil
import socket
import sys
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
            }
            return SimpleNamespace(oid="abc")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    (tmp_path / "voice").mkdir()
    (tmp_path / "voice" / "config.json").write_text("{}")
    address = hub.upload(tmp_path / "voice", "hf://me/voice", "Add a voice", ("*.safetensors",))
    assert address == "hf://me/voice@abc"
    assert (tmp_path / "there" / "config.json").exists()


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
