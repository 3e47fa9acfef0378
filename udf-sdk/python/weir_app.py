"""The main module of a component: `componentize-py … componentize weir_app`.

While the component is built, this module imports the user's module. Its name is in a generated file:

    # weir_build.py
    MODULE = "my_functions"     # the user's file, without .py
    PRELOAD = []                # optional: further modules to import
    REPORT = "/0/report.json"   # optional: the file for the list of functions; -p directories are mounted as /0, /1, …

While the job runs, Weir calls the methods of `Functions`.
"""
import copy
import gc
import importlib
import importlib.util
import inspect
import json
import logging
import sys
import traceback
from decimal import DefaultContext, getcontext

import weir_build
import weir_columns
import weir_preload
import weir_rows
import weir_types
import weir_udf
from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import assets, log
from wit_world.imports import types as wit

_CASES = {
    "any": wit.DataType_Any,
    "boolean": wit.DataType_Boolean,
    "int32": wit.DataType_Int32,
    "int64": wit.DataType_Int64,
    "float64": wit.DataType_Float64,
    "utf8": wit.DataType_Utf8,
    "binary": wit.DataType_Binary,
    "date": wit.DataType_Date,
    "timestamp": wit.DataType_Timestamp,
    "decimal": wit.DataType_Decimal,
    "int8": wit.DataType_Int8,
    "int16": wit.DataType_Int16,
    "float32": wit.DataType_Float32,
    "time": wit.DataType_Time,
    "timestamp_ltz": wit.DataType_TimestampLtz,
    "nested": wit.DataType_Nested,
}
_KINDS = {case: kind for kind, case in _CASES.items()}


def _to_wit(data_type):
    case = _CASES["nested" if data_type.parts else data_type.kind]
    if data_type.kind in ("time", "timestamp", "timestamp_ltz"):
        return case(data_type.precision)
    if data_type.kind == "decimal":
        return case(wit.DecimalType(data_type.precision, data_type.scale))
    return case()


def _named(name, data_type):
    """A name in a signature. If the type is nested, the type follows the name and a space."""
    return f"{name} {data_type}" if data_type.parts else name


class Functions(exports.Functions):
    """The exported interface `functions`."""

    def describe(self):
        return [
            wit.Signature(
                _named(function.name, function.result),
                None if function.parameters is None
                else [wit.Field(_named(p.name, p.data_type), _to_wit(p.data_type)) for p in function.parameters],
                _to_wit(function.result),
                function.deterministic,
            )
            for function in FUNCTIONS
        ]

    def open(self):
        try:
            weir_udf.read_asset = _read_asset
            _redirect_output()
            for hook in OPEN_HOOKS:
                hook()
        except BaseException as error:
            raise Err(weir_rows.explain(error)) from None

    def eval(self, function, rows, args):
        try:
            return _eval(FUNCTIONS[function], rows, args)
        except BaseException as error:
            raise Err(weir_rows.explain(error)) from None


def _eval(function, rows, args):
    _check_count(function, len(args))
    columns, with_nulls = [], []
    for position, arg in enumerate(args):
        kind = _KINDS[type(arg.dtype)]
        scale = arg.dtype.value.scale if kind == "decimal" else 0
        values, has_nulls = weir_columns.decode(kind, scale, arg.validity, arg.offsets, arg.data, rows)
        columns.append(values)
        if has_nulls and function.parameters and not function.parameters[position].takes_null:
            with_nulls.append(position)
    if with_nulls:
        results, errors = weir_rows.call_rows_without_nulls(function.call, columns, with_nulls, rows)
    else:
        results, errors = weir_rows.call_rows(function.call, columns, rows)
    validity, offsets, data, misfits = weir_columns.encode(function.result, results)
    if misfits:
        errors = sorted(errors + misfits)
    return wit.Output(
        wit.Column(_to_wit(function.result), validity, offsets, data),
        [wit.RowError(row, message) for row, message in errors],
    )


def _check_count(function, count):
    if function.parameters is not None:
        if count != len(function.parameters):
            raise TypeError(f"{function.name} takes {len(function.parameters)} arguments, {count} were given")
        return
    if (function, count) in _COUNTS_TRIED:
        return
    try:
        inspect.signature(function.call).bind(*[None] * count)
    except TypeError as error:
        raise TypeError(f"{function.name}: {error}") from None
    except ValueError:
        pass  # a function that is written in C may have no signature
    _COUNTS_TRIED.add((function, count))


_COUNTS_TRIED = set()


def _read_asset(name):
    try:
        return assets.read(name)
    except Err as error:
        raise FileNotFoundError(error.value) from None


class _LogLines:
    """A text file that writes each line to Weir's log. It takes the place of standard output and standard error."""

    encoding, errors = "utf-8", "replace"

    def __init__(self, level):
        self._level, self._open_line = level, ""

    def write(self, text):
        *lines, self._open_line = (self._open_line + text).split("\n")
        for line in lines:
            log.write(self._level, line)
        return len(text)

    def flush(self):
        """Does nothing: a line is written when it ends."""

    def isatty(self):
        return False

    def writable(self):
        return True


class _LogRecords(logging.Handler):
    """A handler that writes records of Python's `logging` to Weir's log."""

    def emit(self, record):
        level = (
            log.Level.ERROR if record.levelno >= logging.ERROR
            else log.Level.WARN if record.levelno >= logging.WARNING
            else log.Level.INFO if record.levelno >= logging.INFO
            else log.Level.DEBUG
        )
        log.write(level, self.format(record))


def _redirect_output():
    sys.stdout, sys.stderr = _LogLines(log.Level.INFO), _LogLines(log.Level.WARN)
    if not logging.getLogger().handlers:
        logging.basicConfig(handlers=[_LogRecords()], level=logging.INFO, format="%(name)s: %(message)s")


# --- at build time ------------------------------------------------------------------------------------------------


def _import_user_module(name):
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError(f"there is no module '{name}' in the directories given with -p")
    if not weir_rows.shown_path(spec.origin or "/python/"):
        raise ImportError(f"'{name}' is also the name of a module of Python or of Weir's; rename the file")
    return importlib.import_module(name)


def _functions_of(module):
    """The functions among the variables of a module. A function without a name of its own is called like its variable."""
    found = {}
    for variable, value in vars(module).items():
        function = getattr(value, "__weir_udf__", None)
        if isinstance(function, weir_udf.Function):
            # Several variables may hold the same function, and each of them is a name for it.
            named = copy.copy(function)
            named.name = function.name or variable
            other = found.setdefault(named.name.lower(), named)
            if other.call is not named.call or other.name != named.name:
                raise TypeError(f"two functions are called {named.name}")
    if not found:
        raise TypeError(f"{module.__name__} offers no function: mark one with @udf (from weir_udf import udf)")
    return list(found.values())


def _open_hooks_of(module, functions):
    marked = [value for value in vars(module).values() if getattr(value, "__weir_on_open__", False) is True]
    return list(dict.fromkeys([*marked, *(f.open_hook for f in functions if f.open_hook)]))


def _build():
    # With Python's default of 28 digits, intermediate results would lose digits of a DECIMAL(38, s).
    DefaultContext.prec = getcontext().prec = 38
    weir_preload.preload(getattr(weir_build, "PRELOAD", ()))
    weir_preload.keep_time_zones()
    try:
        module = _import_user_module(weir_build.MODULE)
        functions = _functions_of(module)
        warnings = weir_preload.preload_late_imports(lambda path: bool(path and weir_rows.shown_path(path)))
    except BaseException as error:
        # Weir reads the text between these two lines, since componentize-py prints much output of its own.
        shown = [frame for frame in traceback.extract_tb(error.__traceback__) if weir_rows.shown_path(frame.filename)]
        for frame in shown:
            frame.filename = weir_rows.shown_path(frame.filename)
        if isinstance(error, SyntaxError) and error.filename:
            error.filename = weir_rows.shown_path(error.filename) or error.filename
        text = "".join([*traceback.format_list(shown), *traceback.format_exception_only(error)])
        print(f"\n--- weir: the file cannot be used ---\n{text.rstrip()}\n--- weir: end ---", file=sys.stderr)
        raise SystemExit(1) from None
    report = getattr(weir_build, "REPORT", None)
    if report:
        with open(report, "w") as file:
            json.dump({"functions": [str(function) for function in functions], "warnings": warnings}, file, indent=1)
    return functions, _open_hooks_of(module, functions)


FUNCTIONS, OPEN_HOOKS = _build()

# Objects that exist now live as long as the component. The garbage collector need not visit them, which would also write to their pages in
# every instance.
gc.collect()
gc.freeze()
