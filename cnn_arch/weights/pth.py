"""PyTorch's files of tensors, read without PyTorch, and never executed.

``torch.save`` writes pickles, and beside them the numbers of each storage: as a zip
archive or, before PyTorch 1.6, as one stream. A pickle can call any function that it
names. Here it can name only those of ``_Unpickler.find_class``, and its operations are
checked before it is read.
"""

import itertools
import math
import pickle  # noqa: TID251 - only for the closed unpickler below
import pickletools
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np

from cnn_arch.errors import UsageError

TYPES: dict[str, Any] = {  # PyTorch's classes of storages
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
OPERATIONS = set(
    """
    PROTO FRAME STOP MARK GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID
    MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET
    NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT
    BINUNICODE SHORT_BINUNICODE BINSTRING SHORT_BINSTRING
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS
    EMPTY_DICT SETITEM SETITEMS
    """.split()
)
MAX_OPERATIONS = 10**6  # of a pickle; ResNet-152 has about 30,000
STREAM_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a stream
PARTS = ("state_dict", "model")  # of training checkpoints: PyTorch's two examples
ADVICE = "torch.save(model.state_dict(), FILE) makes one"


class _Storage(NamedTuple):
    """A row of numbers beside the pickle."""

    type: str  # a key of TYPES
    key: str
    length: int

    def array(self, data: bytes) -> np.ndarray:
        """Interprets the bytes of a storage."""
        array = np.frombuffer(data, TYPES[self.type])
        if len(array) != self.length:
            raise ValueError(f"storage {self.key} is damaged")
        return array


class _Tensor(NamedTuple):
    """A part of a storage; lengths and places are in elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self, data: np.ndarray) -> np.ndarray:
        """Copies the tensor out of its storage."""
        offset, size, stride = self.offset, tuple(self.size), tuple(self.stride)
        last = offset + sum((n - 1) * by for n, by in zip(size, stride, strict=True))
        is_inside = min((offset, *size, *stride)) >= 0 and last < len(data)
        if math.prod(size) > len(data) or not (is_inside or 0 in size):
            raise ValueError("a tensor is larger than its storage")
        strides = [by * data.itemsize for by in stride]
        return np.lib.stride_tricks.as_strided(data[offset:], size, strides).copy()


class _Dict(dict):
    """Takes the place of an OrderedDict."""

    def __setstate__(self, state: Any) -> None:
        """Leaves out ``_metadata``, the versions of PyTorch's modules."""


class _Unpickler(pickle.Unpickler):
    """Makes dicts, lists, numbers, words and tensors; other objects are refused."""

    def __init__(self, file: BinaryIO):
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Returns what replaces a global name of the pickle."""
        calls = {
            "collections.OrderedDict": _Dict,
            "torch._utils._rebuild_tensor": _Tensor,  # before PyTorch 0.4
            "torch._utils._rebuild_tensor_v2": lambda *given: _Tensor(*given[:4]),
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            **{f"torch.{name}": name for name in TYPES},
        }
        if f"{module}.{name}" not in calls:
            raise ValueError(f"it contains {module}.{name}")
        return calls[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns the storage that ``pid`` describes; its numbers are read later."""
        kind, name, key, _, length, *view = pid
        if kind != "storage" or name not in TYPES or any(view):
            raise ValueError("a storage is of another kind")
        return self.storages.setdefault(str(key), _Storage(name, str(key), length))


def read_pth(path: str) -> dict[str, np.ndarray]:
    """Reads a ``state_dict``, also of a training checkpoint: arrays by their names.

    Raises:
      UsageError: the file is damaged, or contains something else.
    """
    try:
        with open(path, "rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            state, arrays = (_read_zip if is_zip else _read_stream)(file)
        return {
            name: tensor.array(arrays[tensor.storage.key])
            for name, tensor in _tensors(state).items()
        }
    except UsageError:
        raise
    except Exception as error:  # of zipfile, pickle or NumPy, depending on the damage
        reason = str(error) or type(error).__name__
        raise UsageError(
            f"not a complete PyTorch file of tensors only ({reason}); {ADVICE}"
        ) from None


def _tensors(state: Any) -> dict[str, _Tensor]:
    """Returns the tensors by their names.

    They may be a part of a training checkpoint, beside its epoch and its optimizer; and
    DataParallel puts "module." before each name.
    """
    if isinstance(state, Mapping):
        state = next((state[key] for key in PARTS if key in state), state)
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, _Tensor)
        for name, tensor in state.items()
    ):
        raise UsageError(f"not a dict from names to tensors; {ADVICE}")
    prefix = "module." if all(name.startswith("module.") for name in state) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _read_zip(file: BinaryIO) -> tuple[Any, dict[str, np.ndarray]]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(each.compress_type != zipfile.ZIP_STORED for each in members):
            raise ValueError("it is compressed")
        names = [each.filename for each in members]
        (pickled,) = (name for name in names if name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in names:
            _check_order(archive.read(f"{folder}byteorder") == b"little")
        with archive.open(pickled) as member:
            state, storages = _unpickle(member)
        return state, {
            key: storage.array(archive.read(f"{folder}data/{key}"))
            for key, storage in storages.items()
        }


def _read_stream(file: BinaryIO) -> tuple[Any, dict[str, np.ndarray]]:
    magic, _, machine = (_unpickle(file)[0] for _ in range(3))
    if magic != STREAM_MAGIC:
        raise ValueError("it does not begin as one")
    _check_order(machine["little_endian"])
    state, storages = _unpickle(file)
    arrays = {}
    for key in _unpickle(file)[0]:
        length = int.from_bytes(file.read(8), "little")
        size = storages[key].length * np.dtype(TYPES[storages[key].type]).itemsize
        if length != storages[key].length:
            raise ValueError(f"storage {key} is damaged")
        arrays[key] = storages[key].array(file.read(size))
    return state, arrays


def _check_order(is_little: bool) -> None:
    if not is_little:
        raise ValueError("its numbers are big-endian")


def _unpickle(file: Any) -> tuple[Any, dict[str, _Storage]]:
    """Reads one pickle; returns its object, and its storages by their keys."""
    start = file.tell()
    count = itertools.count()
    for operation, argument, _ in pickletools.genops(file):
        if operation.name not in OPERATIONS or next(count) > MAX_OPERATIONS:
            raise ValueError(f"it has the operation {operation.name}")
        # Python makes a table up to the greatest place.
        if operation.name == "LONG_BINPUT" and (argument or 0) > MAX_OPERATIONS:
            raise ValueError(f"it remembers {argument:,} objects")
    end = file.tell()
    file.seek(start)
    unpickler = _Unpickler(file)
    loaded = unpickler.load()
    file.seek(end)
    return loaded, unpickler.storages
