"""Writes files as ``torch.save`` does, without PyTorch."""

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

STORAGES = {
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float64): "DoubleStorage",
    np.dtype(np.float16): "HalfStorage",
    np.dtype(jnp.bfloat16): "BFloat16Storage",
    np.dtype(np.int64): "LongStorage",
}


class Name(NamedTuple):
    """A global name in a pickle."""

    module: str
    name: str


class Call(NamedTuple):
    """A call in a pickle: it runs when Python reads the file."""

    function: Name
    given: tuple


class _Storage(NamedTuple):
    key: str
    array: np.ndarray


# The one in Python, which is not in its documentation: names need not exist.
PythonPickler: Any = vars(pickle)["_Pickler"]


class _Pickler(PythonPickler):
    is_stream = False

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Name):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.given)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, _Storage):
            return None
        kind = Name("torch", STORAGES[obj.array.dtype])
        view = (None,) if self.is_stream else ()
        return ("storage", kind, obj.key, "cpu", obj.array.size, *view)


def tensor(key: str, array: np.ndarray, *, parameter: bool = False, **changes: Any):
    """Returns a tensor of a storage of its own; ``changes`` replace its numbers."""
    strides = tuple(by // array.itemsize for by in array.strides)
    whole = {"offset": 0, "size": array.shape, "stride": strides} | changes
    storage, hooks = _Storage(key, array.reshape(-1)), collections.OrderedDict()
    made = Call(
        Name("torch._utils", "_rebuild_tensor_v2"),
        (storage, *whole.values(), False, hooks),
    )
    if parameter:
        return Call(Name("torch._utils", "_rebuild_parameter"), (made, True, hooks))
    return made


def state_dict(arrays: Mapping[str, np.ndarray], **options: Any) -> Any:
    """Returns what ``model.state_dict()`` would be."""

    class StateDict(collections.OrderedDict):
        _metadata: Any

        def __reduce__(self) -> Any:
            state = {"_metadata": self._metadata}
            return collections.OrderedDict, (), state, None, iter(self.items())

    state = StateDict(
        (name, tensor(str(i), np.ascontiguousarray(array), **options))
        for i, (name, array) in enumerate(arrays.items())
    )
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    return state


def save(path: Path, state: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the zip archive of PyTorch 1.6 and later."""
    pickled = io.BytesIO()
    _Pickler(pickled, protocol=2).dump(state)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        archive.writestr("archive/byteorder", "little")
        for i, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{i}", array.tobytes())
        archive.writestr("archive/version", "3\n")


def save_stream(path: Path, state: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the stream of PyTorch before 1.6."""
    with path.open("wb") as file:
        pickle.dump(0x1950A86A20F9469CFC6C, file, protocol=2)
        pickle.dump(1001, file, protocol=2)
        pickle.dump({"protocol_version": 1001, "little_endian": True}, file, protocol=2)
        pickler = _Pickler(file, protocol=2)
        pickler.is_stream = True
        pickler.dump(state)
        pickle.dump([str(i) for i in range(len(arrays))], file, protocol=2)
        for array in arrays.values():
            file.write(struct.pack("<q", array.size) + array.tobytes())
