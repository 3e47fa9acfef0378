"""Functions for Weir, in plain Python.

    from weir_udf import udf

    @udf
    def area(width: float, height: float) -> float:
        return width * height

    @udf(result_type="DECIMAL(10, 2)", deterministic=False)
    def price(item: str):
        ...

The file is imported once, when the component is built, and what its top level made (tables, compiled patterns) is kept
inside the component. Files next to it can be read then, and only then. See `asset` and `on_open` for what has to wait
until the job runs.

A null reaches the function as `None` where the hint allows it (`Optional[...]`, `Any`, or no hint); for any other
parameter a null makes the result null and the function is not called. A result of `None` is null. An exception fails
its row only.
"""
import inspect
import typing

import weir_types
from weir_nested import Row

__all__ = ["Row", "udf", "asset", "on_open"]


class Function:
    """What Weir knows of one function: `weir_app` turns it into a signature and calls it."""

    def __init__(self, call, name, parameters, result, deterministic, open_hook=None):
        self.call = call
        self.name = name
        #: a list of `Parameter`, or None: any number of arguments of any type
        self.parameters = parameters
        self.result = result
        self.deterministic = deterministic
        #: called once before the first row, or None
        self.open_hook = open_hook

    def __str__(self):
        shown = "..." if self.parameters is None else ", ".join(f"{p.name} {p.data_type}" for p in self.parameters)
        return f"{self.name}({shown}) -> {self.result}"


class Parameter(typing.NamedTuple):
    """One argument of a function."""

    name: str
    data_type: weir_types.DataType
    #: whether the function wants to be called with None here
    takes_null: bool


def udf(function=None, *, name=None, result_type=None, arg_types=None, deterministic=True):
    """Offers a function to SQL, under its own name or `name`.

    Types come from the hints. `result_type` and `arg_types` (one for each argument) go before hints and are SQL text or
    hints. Say `deterministic=False` if the same arguments may give another result, or if the call does something
    besides: otherwise results are remembered and calls left out.

    The function itself is returned unchanged, so that others can call it.
    """
    if function is None:
        return lambda decorated: udf(
            decorated, name=name, result_type=result_type, arg_types=arg_types, deterministic=deterministic
        )
    refuse_unless_plain(function)
    hints = typing.get_type_hints(function, include_extras=True)
    label = name or function.__name__
    spelled_result = hints.get("return") if result_type is None else result_type
    if spelled_result is None:
        raise TypeError(f"{label}: what does it return? add a hint (-> str) or result_type='STRING'")
    result = typed(label, "result", spelled_result)[0]
    if result is weir_types.ANY:
        raise TypeError(f"{label}: the result must have one type, not any")
    function.__weir_udf__ = Function(function, name, parameters_of(function, hints, arg_types, label), result, deterministic)
    return function


def on_open(function):
    """Marks a function without arguments to be called once, when the job starts and before the first row."""
    function.__weir_on_open__ = True
    return function


def asset(name):
    """The bytes of a file that was handed to the function with the job. Works while the job runs, not at build time."""
    if read_asset is None:
        raise RuntimeError(
            f"asset({name!r}) at build time: a job's files are there once it runs, so call asset() in a function marked "
            "@on_open; a file that is to be part of the component is opened as usual"
        )
    return read_asset(name)


#: how a job's file is read; `weir_app` sets it when the job runs
read_asset = None


def refuse_unless_plain(function):
    """`TypeError` for what cannot be called once a row for one value."""
    label = getattr(function, "__name__", repr(function))
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"{label}: not a function")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{label}: an async function cannot be called from SQL; write it with def")
    if inspect.isgeneratorfunction(function):
        raise TypeError(f"{label}: a function that yields rows is not supported; return one value")


def parameters_of(function, hints, arg_types, label):
    """The list of `Parameter`s, or None if the number of arguments is open (`*args`, defaults)."""
    try:
        declared = list(inspect.signature(function).parameters.values())
    except ValueError:  # some functions written in C do not tell
        declared = None
    if declared is not None:
        for p in declared:
            if p.kind is p.KEYWORD_ONLY and p.default is p.empty:
                raise TypeError(f"{label}: '{p.name}' can only be given by name, which SQL cannot do")
        declared = [p for p in declared if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    if arg_types is not None:
        arg_types = list(arg_types) if isinstance(arg_types, (list, tuple)) else [arg_types]
        names = [p.name for p in declared or () if p.kind is not p.VAR_POSITIONAL]
        names += [f"arg{i}" for i in range(len(names), len(arg_types))]
        open_ended = declared is None or any(p.kind is p.VAR_POSITIONAL for p in declared)
        required = sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in declared or ())
        if len(arg_types) < required or (len(names) > len(declared or ()) and not open_ended):
            raise TypeError(f"{label}: {len(arg_types)} argument types are given, the function has {len(declared)} arguments")
        return [Parameter(n, *typed(label, n, t)) for n, t in zip(names, arg_types)]
    if declared is None or any(p.kind is p.VAR_POSITIONAL or p.default is not p.empty for p in declared):
        return None
    return [Parameter(p.name, *typed(label, p.name, hints.get(p.name, typing.Any))) for p in declared]


def typed(label, of_what, spelling):
    """`weir_types.from_any_spelling`, with the place in the message."""
    try:
        return weir_types.from_any_spelling(spelling)
    except TypeError as error:
        raise TypeError(f"{label}, {of_what}: {error}") from None
