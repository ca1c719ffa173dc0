"""Arrays, where a module is loaded by commands whose answers need none.

numpy costs as much to import as all that `info` loads of this program. So the modules below most commands take `np` and
the types of arrays from here: `np` is numpy, imported when one of its names is first asked for. A type checker sees
numpy's own types; while the program runs they are `Array`, of which only what it holds is told.
"""

import sys
from importlib import import_module
from types import GenericAlias, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard

__all__ = [
    "AnyArray",
    "Array",
    "ArrayLike",
    "Bytes",
    "Doubles",
    "Flags",
    "Floats",
    "Ints",
    "Reals",
    "Words",
    "is_array",
    "is_array_scalar",
    "np",
]


class Array:
    """What stands for an array in an annotation, with what it holds: bytes, bool, int or float."""

    __class_getitem__: ClassVar[Any] = classmethod(GenericAlias)


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Bytes = NDArray[np.uint8]
    Flags = NDArray[np.bool_]
    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]
    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Reals = NDArray[np.floating[Any]]
    AnyArray = NDArray[Any]
else:

    class _Deferred(ModuleType):
        """A module that is imported when one of its names is first asked for."""

        def __getattr__(self, name: str) -> Any:
            module = import_module(self.__name__)
            vars(self).update(vars(module))
            return getattr(module, name)

    np = _Deferred("numpy")
    AnyArray = ArrayLike = Any
    Bytes, Flags = Array[bytes], Array[bool]
    Ints = Words = Array[int]
    Floats = Doubles = Reals = Array[float]


def is_array(value: object) -> "TypeGuard[np.ndarray[Any, Any]]":
    """Return whether a value is an array of numpy; as long as numpy has not been imported, nothing is."""
    return "numpy" in sys.modules and isinstance(value, np.ndarray)


def is_array_scalar(value: object) -> "TypeGuard[np.generic]":
    """Return whether a value is one number, or truth value, of numpy's own types."""
    return "numpy" in sys.modules and isinstance(value, np.generic)
