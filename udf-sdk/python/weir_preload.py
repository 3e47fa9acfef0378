"""Imports modules while the component is built.

A component has no files at run time, so a module that was not imported at build time cannot be imported later. Python
itself imports text encodings and some of its modules only when they are used.
"""
import ast
import codecs
import importlib
import importlib.resources
import io
import sys
import zoneinfo
import zoneinfo._common

#: text encodings that are looked up by name at run time, as by `text.encode("gbk")`, for host names in URLs, or by `json` for a byte-order
#: mark
ENCODINGS = (
    "ascii latin_1 iso8859_1 iso8859_2 iso8859_15 utf_8 utf_8_sig utf_7 utf_16 utf_16_le utf_16_be utf_32 utf_32_le "
    "utf_32_be idna punycode cp437 cp850 cp1250 cp1251 cp1252 koi8_r gbk gb2312 gb18030 hz cp936 big5 big5hkscs cp950 "
    "shift_jis cp932 euc_jp iso2022_jp euc_kr cp949 unicode_escape raw_unicode_escape hex_codec base64_codec "
    "quopri_codec rot_13 zlib_codec"
).split()

#: modules that other modules of the standard library import inside functions, or that functions of users often import
MODULES = (
    "_strptime array ast base64 binascii bisect calendar collections.abc colorsys configparser contextlib copy csv "
    "dataclasses datetime decimal difflib email.message email.parser enum fractions functools gzip hashlib heapq hmac "
    "html html.entities html.parser http.client importlib.resources io ipaddress itertools json linecache locale "
    "logging math operator os.path pickle pprint queue quopri random re secrets select shlex socket statistics string "
    "stringprep struct textwrap threading time tomllib traceback types typing unicodedata urllib.error urllib.parse "
    "urllib.request urllib.response uuid warnings weakref xml.etree.ElementTree zlib zoneinfo zoneinfo._common"
).split()


def preload(more=()):
    """Imports all of the above and the modules `more`, except for those that this build of Python does not have."""
    for name in ENCODINGS:
        try:
            codecs.lookup(name)
        except LookupError:
            pass
    for name in (*MODULES, *more):
        try:
            importlib.import_module(name)
        except ImportError:
            pass


def keep_time_zones():
    """Loads the time zones that `zoneinfo` would read from files at run time.

    They come from the package `tzdata`, which is beside the SDK while the component is built. Without it, nothing is done.
    """
    try:
        files = importlib.resources.files("tzdata").joinpath("zoneinfo")
        names = importlib.resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    except ModuleNotFoundError:
        return
    kept = {name: files.joinpath(*name.split("/")).read_bytes() for name in names}

    def load_tzdata(key):
        try:
            return io.BytesIO(kept[key])
        except KeyError:
            raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}") from None

    # Both implementations of `zoneinfo` in CPython look up the function here, by this name.
    zoneinfo._common.load_tzdata = load_tzdata
    zoneinfo.available_timezones = lambda: set(kept)


def preload_late_imports(is_users):
    """Imports the modules that the user's modules import inside functions, and those that these import in turn.

    `is_users` says whether the source file with a path is the user's, or belongs to a dependency. Returns a line for each
    import that failed. That is not an error, because the function may never reach the import.
    """
    warnings, scanned, tried = [], set(), set()
    while True:
        fresh = [
            module
            for name, module in list(sys.modules.items())
            if name not in scanned and is_users(getattr(module, "__file__", None) or "")
        ]
        if not fresh:
            return warnings
        for module in fresh:
            scanned.add(module.__name__)
            scanned.update(name for name, other in sys.modules.items() if other is module)
            path = module.__file__
            if not path.endswith(".py"):
                continue
            with open(path, "rb") as file:
                found = late_imports(ast.parse(file.read(), path), module.__package__ or "")
            for target, line in sorted(found.items(), key=lambda item: item[1]):
                if target in tried:
                    continue
                tried.add(target)
                try:
                    _import(target)
                except Exception as error:
                    warnings.append(f"{path}:{line}: import of {target} fails: {type(error).__name__}: {error}")


def _import(target):
    """Imports `package.module`. For `package:name`, imports the package, and the module `package.name` if `name` is not in it."""
    package, _, name = target.partition(":")
    module = importlib.import_module(package)
    if name and not hasattr(module, name) and hasattr(module, "__path__"):
        importlib.import_module(f"{package}.{name}")


def late_imports(tree, package):
    """The imports in a syntax tree as `{target: line}`, without those that only type checkers and scripts reach."""
    found = {}
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _never_runs(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.setdefault(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                found.setdefault(base if alias.name == "*" else f"{base}:{alias.name}", node.lineno)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            wanted = node.args[0].value
            if called in ("import_module", "__import__") and isinstance(wanted, str) and not wanted.startswith("."):
                found.setdefault(wanted, node.lineno)
        waiting.extend(ast.iter_child_nodes(node))
    return found


def _never_runs(test):
    """Whether a condition is never true at run time: `TYPE_CHECKING`, or a comparison with `__name__`."""
    if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__":
        return True
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"
