"""What public functions are given, held against what their signatures say.

A notebook has no type checker, so `checked` reads the annotations of a function, or of the public methods of a class,
and refuses by name what does not fit them, before anything is computed. What only the values tell (a metric there is
not, a count below 1) is refused where they are used, also as `InvalidArgument`.
"""

import ast
import functools
import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, NamedTuple, SupportsIndex, TypeGuard, TypeVar

from embtool.arrays import AnyArray, ArrayLike, is_array, is_array_scalar, np
from embtool.errors import InvalidArgument

Public = TypeVar("Public", bound=Callable[..., Any])

SHOWN = 60
"""Characters of a strange value that an error quotes."""


class Kind(NamedTuple):
    """What a parameter takes: in words, and a test of it."""

    words: str
    fits: Callable[[Any], bool]


def is_whole(value: object) -> TypeGuard[SupportsIndex]:
    """Return whether a value is a whole number; a truth value and an array are none."""
    return hasattr(value, "__index__") and not is_truth(value) and not is_array(value)


def is_truth(value: Any) -> bool:
    """Return whether a value is Python's or numpy's True or False."""
    return isinstance(value, bool) or (is_array_scalar(value) and value.dtype.kind == "b")


def _is_list(value: Any) -> bool:
    is_sized = isinstance(value, Iterable) and hasattr(value, "__len__") and getattr(value, "ndim", 1) > 0
    return is_sized and not isinstance(value, str | bytes | Mapping)


TEXT = Kind("a text", lambda value: isinstance(value, str))
ANYTHING = Kind("anything", lambda _: True)
CALLABLE = Kind("a function", callable)
KINDS = {
    "str": TEXT,
    "bytes": Kind("bytes", lambda value: isinstance(value, bytes)),
    "int": Kind("a whole number", is_whole),
    "float": Kind("a number", lambda value: isinstance(value, Real) and not is_truth(value) and math.isfinite(value)),
    "bool": Kind("True or False", is_truth),
    "Path": Kind("a path", lambda value: isinstance(value, os.PathLike)),
    "Mapping": Kind("a mapping", lambda value: isinstance(value, Mapping)),
    "None": Kind("None", lambda value: value is None),
    "Limit": Kind(
        "what has turn() and hold(seconds)",
        lambda value: all(callable(getattr(value, n, None)) for n in ("turn", "hold")),
    ),
    **dict.fromkeys(("Basis", "Layout", "Precision"), TEXT),
    **dict.fromkeys(("Callable", "Progress", "Confirm"), CALLABLE),
    **dict.fromkeys(
        ("Any", "Self", "object", "ndarray", "Array", "ArrayLike", "Doubles", "Floats", "Mask", "Place", "Union"),
        ANYTHING,
    ),
}
"""By the name in an annotation; any other name is a class. Literals and arrays are looked at where they are used."""

LISTS = ("Sequence", "Iterable", "Collection", "list", "tuple", "set", "frozenset")


def checked(public: Public) -> Public:
    """Hold the arguments of a function, or of a class's public methods, against their annotations.

    What does not fit raises `InvalidArgument`. The elements of an iterator are not looked at: it is read only once.
    """
    if not inspect.isclass(public):
        return _checked_function(public)  # type: ignore[return-value]
    for name, method in list(vars(public).items()):
        if inspect.isfunction(method) and (not name.startswith("_") or name in ("__init__", "__getitem__")):
            setattr(public, name, _checked_function(method))
    return public


def check_count(number: object, name: str, least: int = 1) -> None:
    """Raise InvalidArgument unless a number is whole and at least `least`."""
    if not is_whole(number):
        raise InvalidArgument(f"{name} is a whole number, not {quoted(number)}")
    if int(number) < least:
        raise InvalidArgument(f"{name} is at least {least}, not {number}")


def check_numbers(values: ArrayLike, name: str) -> AnyArray:
    """Return numbers as an array of their own type and shape, or raise InvalidArgument."""
    try:
        given = np.asarray(values)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidArgument(f"{name} is an array of numbers, not {quoted(values)}") from error
    if given.dtype.kind not in "iuf":
        raise InvalidArgument(f"{name} is an array of numbers, not {quoted(values)}")
    return given


def quoted(value: object) -> str:
    """Return a value as an error shows it: short."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _checked_function(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.cache
    def wanted() -> tuple[list[str], dict[str, Kind], Kind]:
        """Read the signature, when the function is first called."""
        parameters = inspect.signature(function).parameters.values()
        rest = next((_kind(each.annotation) for each in parameters if each.kind is each.VAR_POSITIONAL), ANYTHING)
        names = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
        return (
            names,
            {each.name: _kind(each.annotation) for each in parameters if each.annotation is not each.empty},
            rest,
        )

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        names, kinds, rest = wanted()
        args = tuple(map(_plain, args))
        kwargs = {name: _plain(value) for name, value in kwargs.items()}
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if name in kinds and not kinds[name].fits(value):
                raise InvalidArgument(f"{name} is {kinds[name].words}, not {quoted(value)}")
        for value in args[len(names) :]:
            if not rest.fits(value):
                raise InvalidArgument(f"each is {rest.words}, not {quoted(value)}")
        return function(*args, **kwargs)

    return call


def _plain(value: Any) -> Any:
    """Return a number or a text of numpy's as Python's own: an int8 is too small to count with."""
    return value.item() if is_array_scalar(value) else value


def _kind(annotation: Any) -> Kind:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _read(ast.parse(text.strip(), mode="eval").body)


def _read(node: ast.expr) -> Kind:
    """Read an annotation; a class is asked for by its name, so that nothing has to be imported for it."""
    match node:
        case ast.Subscript(value=ast.Name(id="Optional") | ast.Attribute(attr="Optional"), slice=inner):
            node = ast.BinOp(inner, ast.BitOr(), ast.Constant(None))  # what Python makes `Optional` of is `X | None`
    match node:
        case ast.BinOp(left=left, right=right):
            kinds = [_read(left), _read(right)]
            words = " or ".join(kind.words for kind in kinds if kind is not KINDS["None"])
            return Kind(words, lambda value: any(kind.fits(value) for kind in kinds))
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner) if name in LISTS:
            element = _read(inner.elts[0] if isinstance(inner, ast.Tuple) else inner)
            may_be_iterator = name == "Iterable"

            def fits(value: Any) -> bool:
                if may_be_iterator and hasattr(value, "__next__"):
                    return True
                return _is_list(value) and all(map(element.fits, value[:1] if isinstance(value, range) else value))

            return Kind(f"a list, each of it {element.words}", fits)
        case ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal"), slice=inner):
            choices = ast.literal_eval(inner)
            return Kind(f"one of {', '.join(choices)}", lambda value: isinstance(value, str) and value in choices)
        case ast.Subscript(value=outer):
            return _read(outer)
        case ast.Constant(value=value):
            return KINDS["None"] if value is None else _kind(str(value))
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return KINDS.get(name) or Kind(
                f"a {name}", lambda value: any(kind.__name__ == name for kind in type(value).__mro__)
            )
    raise TypeError(f"{ast.unparse(node)} is no annotation that arguments can be held against")
