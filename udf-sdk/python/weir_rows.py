"""Calls a function for every row, and formats exceptions."""
import os


def call_rows(function, columns, rows):
    """Calls a function for every row.

    Returns the list of results, and `(row, message)` for each row that raised an exception. The result of such a row is None.
    """
    values, errors = [], []
    append = values.append

    # There is a loop for each usual number of arguments, because CPython specialises calls with a fixed number of arguments.
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
    """Like `call_rows`, but a row is not called if it has None in a column of `strict`, and its result is None.

    `strict` contains indices into `columns`.
    """
    watched = [columns[i] for i in strict]
    chosen = [row for row, values in enumerate(zip(*watched)) if None not in values]
    some, errors = call_rows(function, [[column[row] for row in chosen] for column in columns], len(chosen))
    values = [None] * rows
    for row, value in zip(chosen, some):
        values[row] = value
    return values, [(chosen[row], message) for row, message in errors]


def explain(error):
    """An exception as text, such as `ValueError: wrong value (my_functions.py:12)`.

    The line is the innermost one of the traceback that is in the user's own files.
    """
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
    """The path of a source file as its author knows it, or "" if the file is not the user's.

    componentize-py mounts the directories of its `-p` options as /0, /1, and so on, and the standard library as /python.
    """
    if path.startswith(("/python/", "/world/", "/bundled/", "<")) or os.path.dirname(path) == _OWN_FILES:
        return ""
    if path.startswith(os.path.join(_OWN_FILES, "pyflink", "")):
        return ""
    mount, _, rest = path.lstrip("/").partition("/")
    return rest if mount.isdigit() and rest else path
