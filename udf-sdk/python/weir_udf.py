"""User-defined functions for Weir in Python.

    from weir_udf import udf

    @udf
    def area(width: float, height: float) -> float:
        return width * height

    @udf(result_type="DECIMAL(10, 2)", deterministic=False)
    def price(item: str):
        ...

The file is imported once, when the component is built. Its module-level values, such as tables and compiled patterns,
become part of the component. Other files in the same folder can only be read at this time. `asset` and `on_open` are for
what has to wait until the job runs.

If the hint of a parameter allows None (`Optional[...]`, `Any`, or no hint), NULL is passed to the function as `None`. If
any other argument is NULL, the function is not called and the result is NULL. A result of `None` is NULL. An exception
only fails its row.
"""
import inspect
import typing

import weir_types
from weir_nested import Row

__all__ = ["Row", "udf", "asset", "on_open"]


class Function:
    """A function with its types. `weir_app` makes a signature from it and calls it."""

    def __init__(self, call, name, parameters, result, deterministic, open_hook=None):
        self.call = call
        self.name = name
        #: the list of `Parameter`s; None for any number of arguments of any type
        self.parameters = parameters
        self.result = result
        self.deterministic = deterministic
        #: a function that is called once before the first row, or None
        self.open_hook = open_hook

    def __str__(self):
        shown = "..." if self.parameters is None else ", ".join(f"{p.name} {p.data_type}" for p in self.parameters)
        return f"{self.name}({shown}) -> {self.result}"


class Parameter(typing.NamedTuple):
    """One argument of a function."""

    name: str
    data_type: weir_types.DataType
    #: whether NULL is passed to the function as None
    takes_null: bool


def udf(function=None, *, name=None, result_type=None, arg_types=None, deterministic=True):
    """Exports a function to SQL, under its own name or `name`.

    Types come from the type hints. `result_type` and `arg_types` (a list with one type for each argument) take precedence,
    and are SQL text or hints. `deterministic=False` declares that equal arguments may give different results, or that a
    call has side effects. Otherwise, results are cached, and calls with equal arguments are left out.

    Returns the function itself, so that other functions can call it. Raises `TypeError` if a type is missing or invalid.
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
    """Marks a function without arguments, which is called once in each instance, before the first row."""
    function.__weir_on_open__ = True
    return function


def asset(name):
    """The bytes of an asset: a file that the job has given to the function.

    Raises `RuntimeError` at build time, and `FileNotFoundError` if there is no such file.
    """
    if read_asset is None:
        raise RuntimeError(
            f"asset({name!r}) at build time: a job's files are there once it runs, so call asset() in a function marked "
            "@on_open; a file that is to be part of the component is opened as usual"
        )
    return read_asset(name)


#: the function that reads an asset; `weir_app` sets it when the job runs
read_asset = None


def refuse_unless_plain(function):
    """Raises `TypeError` for anything but a function that returns one value for each call."""
    label = getattr(function, "__name__", repr(function))
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"{label}: not a function")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{label}: an async function cannot be called from SQL; write it with def")
    if inspect.isgeneratorfunction(function):
        raise TypeError(f"{label}: a function that yields rows is not supported; return one value")


def parameters_of(function, hints, arg_types, label):
    """The list of `Parameter`s; None if the number of arguments is not fixed (because of `*args` or defaults)."""
    try:
        declared = list(inspect.signature(function).parameters.values())
    except ValueError:  # some functions that are written in C have no signature
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
    """Calls `weir_types.from_any_spelling`. An error names the function and what the type is for."""
    try:
        return weir_types.from_any_spelling(spelling)
    except TypeError as error:
        raise TypeError(f"{label}, {of_what}: {error}") from None
