"""Calling a function for every row, and what becomes of an exception."""
import os


def call_rows(function, columns, rows):
    """The results as a list, and `(row, message)` for each row that raised; such a row's result is None."""
    values, errors = [], []
    append = values.append

    # One loop for each usual number of arguments: spelled-out calls are the ones CPython specialises.
    if len(columns) == 1:
        for a in columns[0]:
            try:
                append(function(a))
            except (Exception, SystemExit) as error:
                errors.append((len(values), explain(error)))
                append(None)
    elif len(columns) == 2:
        for a, b in zip(*columns):
            try:
                append(function(a, b))
            except (Exception, SystemExit) as error:
                errors.append((len(values), explain(error)))
                append(None)
    else:
        for row in zip(*columns) if columns else ((),) * rows:
            try:
                append(function(*row))
            except (Exception, SystemExit) as error:
                errors.append((len(values), explain(error)))
                append(None)
    return values, errors


def call_rows_without_nulls(function, columns, strict, rows):
    """As `call_rows`, but a row with a null in one of the columns numbered in `strict` is null without a call."""
    watched = [columns[i] for i in strict]
    chosen = [row for row, values in enumerate(zip(*watched)) if None not in values]
    some, errors = call_rows(function, [[column[row] for row in chosen] for column in columns], len(chosen))
    values = [None] * rows
    for row, value in zip(chosen, some):
        values[row] = value
    return values, [(chosen[row], message) for row, message in errors]


def explain(error):
    """`ValueError: what was wrong (my_functions.py:12)`: the line is the deepest one in the user's own files."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:
        text = "(its message cannot be shown)"
    place = _place(error)
    return (f"{name}: {text}" if text else name) + (f" ({place})" if place else "")


def _place(error):
    place, step = None, error.__traceback__
    while step is not None:
        path = step.tb_frame.f_code.co_filename
        known = _SHOWN_PATHS.get(path)
        if known is None:
            known = _SHOWN_PATHS[path] = shown_path(path)
        if known:
            place = f"{known}:{step.tb_lineno}"
        step = step.tb_next
    return place


_SHOWN_PATHS = {}

_OWN_FILES = os.path.dirname(os.path.abspath(__file__))


def shown_path(path):
    """A source path as its author knows it, or "" for files that are not the user's.

    componentize-py mounts each `-p` directory as /0, /1, … and the standard library as /python.
    """
    if path.startswith(("/python/", "/world/", "/bundled/", "<")) or os.path.dirname(path) == _OWN_FILES:
        return ""
    if path.startswith(os.path.join(_OWN_FILES, "pyflink", "")):
        return ""
    mount, _, rest = path.lstrip("/").partition("/")
    return rest if mount.isdigit() and rest else path
