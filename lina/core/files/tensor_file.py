"""Tensors of files of unknown origin: safetensors, and files of ``torch.save`` read as tensors only.

Nothing in a file is executed, and reading takes no more memory than the file has bytes.
"""

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from lina.core.errors import FileError, is_failure, one_line
from lina.core.files.checks import check_regular

LARGEST_PICKLE = 64_000_000
"""Bytes of the names and shapes in a file of ``torch.save``."""


class PickledObjects(FileError):
    """A file of ``torch.save`` with objects other than tensors, which are not loaded."""


@contextmanager
def without_panics(path: Path) -> Iterator[None]:
    """Turn a panic of a Rust extension, which is no ``Exception``, into a ``FileError``."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or not is_failure(error):
            raise
        raise FileError(path, f"cannot be read: its reader failed ({one_line(error)})") from None


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Raises:
        FileError: it is no regular file, or not safetensors.
        OSError: it cannot be read.
    """
    check_regular(path)
    try:
        with without_panics(path):
            return load_file(path)
    except SafetensorError as error:
        raise FileError(path, f"is not safetensors, or cut off ({one_line(error)})") from None


def shapes_of(path: Path) -> dict[str, list[int]]:
    """Shapes of the tensors of a safetensors file, by name, from its header alone.

    Raises:
        FileError, OSError: as ``read_safetensors``.
    """
    check_regular(path)
    try:
        with without_panics(path), safe_open(path, "pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise FileError(path, f"is not safetensors, or cut off ({one_line(error)})") from None


def is_zip(path: Path) -> bool:
    """Test for a zip file, of which a damaged one is one, too."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return True


def read_pickled_tensors(path: Path, *, legacy: bool = False) -> Any:
    """Content of a file of ``torch.save``, memory-mapped: tensors, and lists, dictionaries, numbers and texts.

    ``legacy``: also read the format before PyTorch 1.6, which is no zip file.

    Raises:
        PickledObjects: it holds other objects, which could execute code.
        FileError: it is no regular file, damaged, or compressed, so that it could unpack to any size.
        OSError: it cannot be read.
    """
    size = check_regular(path)
    zipped = _check_archive(path, size)
    if not (zipped or legacy):
        raise FileError(path, "is no zip file, as torch.save writes since PyTorch 1.6")
    try:
        with warnings.catch_warnings():
            # About other pickle protocols and archives: the file loads, or fails below.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except pickle.UnpicklingError as error:
        raise PickledObjects(path, one_line(error)) from None
    except OSError:
        raise
    except Exception as error:  # PyTorch's reader fails in a dozen ways on a damaged file
        raise FileError(path, f"cannot be read as weights ({one_line(error)})") from None


def is_whole(value: Any) -> bool:
    """Test for a plain tensor on the CPU that its own storage holds: a view of a few bytes may claim any size."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors with NaN or infinity."""
    return [name for name, value in tensors.items() if not _is_finite(value)]


def _is_finite(value: Tensor) -> bool:
    if not (value.is_floating_point() or value.is_complex()) or not value.numel():
        return True
    if value.is_complex():
        return bool(torch.isfinite(value).all())
    # The extremes are NaN if any number is, and cost a fraction of a mask of all.
    low, high = torch.aminmax(value.float())
    return bool(torch.isfinite(low) & torch.isfinite(high))


def _check_archive(path: Path, size: int) -> bool:
    """False if the file is no zip file.

    Raises:
        FileError: it is one that PyTorch would not have written.
    """
    try:
        if not is_zip(path):
            return False
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except OSError:
        raise
    except Exception as error:  # of a damaged directory: bad zip, encoding, number, ...
        raise FileError(path, f"is a damaged zip file ({one_line(error)})") from None
    for one in entries:
        if one.compress_type != zipfile.ZIP_STORED:
            raise FileError(
                path, "is a compressed zip file, as torch.save never writes; save it with torch.save"
            )
        if one.filename.endswith(".pkl") and one.file_size > LARGEST_PICKLE:
            raise FileError(
                path, f"describes its tensors in {one.file_size:,} bytes, more than any model needs"
            )
    if sum(one.file_size for one in entries) > size:
        raise FileError(path, "is a zip file whose entries are larger than the file")
    return True
