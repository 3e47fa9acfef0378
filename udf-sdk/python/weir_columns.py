"""Converts columns between the raw little-endian buffers of the contract and Python lists.

Every call runs this code, so it has to be fast. As far as possible, each type uses functions in C that process a whole
column at once (`memoryview`, `array`, `join`). Results are only checked one by one if a column contains None or values
that do not fit.
"""
import datetime
import decimal
import json
from array import array
from itertools import accumulate, chain, pairwise

import weir_nested
import weir_types

assert array("I").itemsize == 4 and array("q").itemsize == 8

_EPOCH = datetime.datetime(1970, 1, 1)
_EPOCH_ORDINAL = _EPOCH.toordinal()
_MICROSECOND = datetime.timedelta(microseconds=1)
# Numbers of 38 digits can be shifted by 38 places without rounding. Digits beyond the scale are rounded as in PyFlink.
_WIDE = decimal.Context(prec=80, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, rounding=decimal.ROUND_HALF_EVEN)

_BITS_OF_BYTE = [tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256)]
_DIGIT_OF_BYTE = b"0" + b"1" * 255


def unpack_bits(data, rows):
    """Converts a bitmap, least significant bit first, to a list of `rows` bools."""
    bits = list(chain.from_iterable(map(_BITS_OF_BYTE.__getitem__, data)))
    del bits[rows:]
    return bits


def pack_bits(flags):
    """Converts a list of bools, or of bytes of which 0 is false, to a bitmap, least significant bit first."""
    if not flags:
        return b""
    digits = bytes(flags).translate(_DIGIT_OF_BYTE)[::-1]
    return int(digits, 2).to_bytes((len(digits) + 7) // 8, "little")


# --- decode: buffers to values ------------------------------------------------------------------------------------


def decode(kind, scale, validity, offsets, data, rows):
    """Converts a column of `rows` rows to `(values, has_nulls)`. NULL is None. `scale` is that of a decimal."""
    values = _RAW[kind](offsets, data, rows)
    valid = None if validity is None else unpack_bits(validity, rows)
    if valid is not None and all(valid):
        valid = None
    if valid is not None:
        values = [value if ok else None for value, ok in zip(values, valid)]
    # This comes after the removal of nulls, because the buffer of a NULL may hold anything, such as an invalid date.
    if kind in _FINISH:
        values = _FINISH[kind](values, scale, valid is not None)
    return values, valid is not None


def _raw_utf8(offsets, data, _rows):
    ends = memoryview(offsets).cast("I").tolist()
    if data.isascii():
        text = data.decode("ascii")
        return [text[start:end] for start, end in pairwise(ends)]
    return [data[start:end].decode() for start, end in pairwise(ends)]


def _raw_binary(offsets, data, _rows):
    return [data[start:end] for start, end in pairwise(memoryview(offsets).cast("I").tolist())]


def _raw_nested(offsets, data, _rows):
    ends = memoryview(offsets).cast("I").tolist()
    of = _TYPES.get(data[: ends[0]])
    if of is None:
        of = _TYPES[data[: ends[0]]] = weir_nested.reader(weir_types.from_sql(data[: ends[0]].decode()))
    # The text of a NULL is empty, and not JSON.
    texts = (data[start:end] for start, end in pairwise(ends))
    if of is None:
        return [json.loads(text) if text else None for text in texts]
    return [of(json.loads(text)) if text else None for text in texts]


#: the functions that convert the values of nested types, by the type in SQL
_TYPES = {}


def _raw_decimal(_offsets, data, _rows):
    view = memoryview(data)
    low, high = view.cast("Q").tolist()[::2], view.cast("q").tolist()[1::2]
    return [h << 64 | l for h, l in zip(high, low)]


_RAW = {
    "boolean": lambda _offsets, data, rows: unpack_bits(data, rows),
    "int8": lambda _offsets, data, _rows: memoryview(data).cast("b").tolist(),
    "int16": lambda _offsets, data, _rows: memoryview(data).cast("h").tolist(),
    "int32": lambda _offsets, data, _rows: memoryview(data).cast("i").tolist(),
    "int64": lambda _offsets, data, _rows: memoryview(data).cast("q").tolist(),
    "float32": lambda _offsets, data, _rows: memoryview(data).cast("f").tolist(),
    "float64": lambda _offsets, data, _rows: memoryview(data).cast("d").tolist(),
    "utf8": _raw_utf8,
    "binary": _raw_binary,
    "date": lambda _offsets, data, _rows: memoryview(data).cast("i").tolist(),
    "time": lambda _offsets, data, _rows: memoryview(data).cast("i").tolist(),
    "timestamp": lambda _offsets, data, _rows: memoryview(data).cast("q").tolist(),
    "timestamp_ltz": lambda _offsets, data, _rows: memoryview(data).cast("q").tolist(),
    "decimal": _raw_decimal,
    "nested": _raw_nested,
}


class _Dates(dict):
    """A cache of dates by days since 1970. A column rarely has many different dates."""

    def __missing__(self, day):
        if len(self) > 50_000:
            self.clear()
        if day is None:
            return None
        date = self[day] = datetime.date.fromordinal(day + _EPOCH_ORDINAL)
        return date


_DATES = _Dates()


def _finish_dates(days, _scale, _has_nulls):
    return list(map(_DATES.__getitem__, days))


def _finish_timestamps(micros, _scale, has_nulls):
    epoch, unit = _EPOCH, _MICROSECOND
    if has_nulls:
        return [None if n is None else epoch + unit * n for n in micros]
    return [epoch + unit * n for n in micros]


def _finish_points(micros, _scale, _has_nulls):
    epoch, unit = _EPOCH.replace(tzinfo=datetime.timezone.utc), _MICROSECOND
    return [None if n is None else epoch + unit * n for n in micros]


def _finish_times(millis, _scale, _has_nulls):
    return [None if n is None else (_EPOCH + datetime.timedelta(milliseconds=n)).time() for n in millis]


def _finish_decimals(unscaled, scale, has_nulls):
    times, step = _WIDE.multiply, decimal.Decimal((0, (1,), -scale))
    if has_nulls:
        return [None if n is None else times(n, step) for n in unscaled]
    return [times(n, step) for n in unscaled]


_FINISH = {
    "date": _finish_dates,
    "time": _finish_times,
    "timestamp": _finish_timestamps,
    "timestamp_ltz": _finish_points,
    "decimal": _finish_decimals,
}


# --- encode: values to buffers ------------------------------------------------------------------------------------


def encode(data_type, values):
    """Converts values to `(validity, offsets, data, errors)`. `errors` contains `(row, message)` for each value that does not fit."""
    fast, filler = _ENCODERS[data_type.kind]
    try:
        return None, *fast(values, data_type), []
    except _UNFIT:
        pass  # there is a None, or a value that does not fit: check them one by one
    flags = [value is not None for value in values]
    errors = []
    filled = [value if ok else filler for value, ok in zip(values, flags)]
    try:
        buffers = fast(filled, data_type)
    except _UNFIT:
        for row, ok in enumerate(flags):
            if ok:
                try:
                    filled[row] = _fitted(filled[row], data_type)
                    fast(filled[row : row + 1], data_type)
                except _UNFIT as error:
                    errors.append((row, _complaint(values[row], data_type, error)))
                    filled[row], flags[row] = filler, False
        buffers = fast(filled, data_type)
    return None if all(flags) else pack_bits(flags), *buffers, errors


_UNFIT = (TypeError, ValueError, ArithmeticError, AttributeError)


def _fitted(value, data_type):
    """Converts a value to the form that its encoder accepts, if PyFlink accepts it as well.

    A number for an integer type loses its fraction, a decimal is rounded, and a `datetime` for TIMESTAMP loses its zone.
    """
    kind = data_type.kind
    if kind in _WHOLE:
        return weir_nested.whole(value)
    if kind == "decimal" and not isinstance(value, (str, bytes)):
        return weir_nested.rounded(value, data_type.scale)
    if kind == "timestamp" and isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None)
    return value


_WHOLE = {"int8", "int16", "int32", "int64"}


def _complaint(value, data_type, error):
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    wanted = _PYTHON_TYPE.get(data_type.kind, object)
    if isinstance(value, wanted):
        reason = "" if isinstance(error, (OverflowError, AttributeError)) or not str(error) else f": {error}"
        return f"the result {shown} does not fit {data_type}{reason}"
    return f"the result {shown} is of type {type(value).__name__}, {data_type} takes {wanted.__name__}"


def _encode_booleans(values, _data_type):
    flags = bytes(values)
    if flags.strip(b"\0\1"):
        raise TypeError
    return b"", pack_bits(flags)


def _encode_with(typecode):
    return lambda values, _data_type: (b"", array(typecode, values).tobytes())


def _offsets(lengths):
    return array("I", list(accumulate(lengths, initial=0))).tobytes()


def _encode_utf8(values, _data_type):
    text = "".join(values)
    if text.isascii():
        return _offsets(map(len, values)), text.encode("ascii")
    parts = [value.encode() for value in values]
    return _offsets(map(len, parts)), b"".join(parts)


def _encode_binary(values, _data_type):
    data = b"".join(values)
    return _offsets(map(len, values)), data


def _encode_dates(values, _data_type):
    return b"", array("i", [value.toordinal() - _EPOCH_ORDINAL for value in values]).tobytes()


def _encode_timestamps(values, data_type):
    epoch = _EPOCH
    micros = [((d := v - epoch).days * 86400 + d.seconds) * 1_000_000 + d.microseconds for v in values]
    if data_type.precision < 6:
        unit = 10 ** (6 - data_type.precision)
        micros = [n - n % unit for n in micros]
    return b"", array("q", micros).tobytes()


def _encode_points(values, data_type):
    return _encode_timestamps([weir_nested.in_utc(value) for value in values], data_type)


def _encode_times(values, data_type):
    unit = 10 ** max(0, 3 - data_type.precision)
    millis = [(v.hour * 3600 + v.minute * 60 + v.second) * 1000 + v.microsecond // 1000 for v in values]
    return b"", array("i", [n - n % unit for n in millis]).tobytes()


def _encode_nested(values, data_type):
    return _encode_utf8(["" if v is _ABSENT else weir_nested.text_of(v, data_type) for v in values], data_type)


#: takes the place of a NULL among nested values
_ABSENT = object()


def _encode_decimals(values, data_type):
    shift, rounded = _WIDE.scaleb, _WIDE.to_integral_value
    unscaled = [int(rounded(shift(value, data_type.scale))) for value in values]
    limit = 10**data_type.precision
    if unscaled and not (-limit < min(unscaled) and max(unscaled) < limit):
        raise OverflowError
    pairs = array("q", bytes(16 * len(unscaled)))
    try:
        pairs[0::2] = array("q", unscaled)
        pairs[1::2] = array("q", [n >> 63 for n in unscaled])
        return b"", pairs.tobytes()
    except OverflowError:
        return b"", b"".join([n.to_bytes(16, "little", signed=True) for n in unscaled])


#: for each kind, its encoder and a value that takes the place of NULL
_ENCODERS = {
    "boolean": (_encode_booleans, False),
    "int8": (_encode_with("b"), 0),
    "int16": (_encode_with("h"), 0),
    "int32": (_encode_with("i"), 0),
    "int64": (_encode_with("q"), 0),
    "float32": (_encode_with("f"), 0.0),
    "float64": (_encode_with("d"), 0.0),
    "utf8": (_encode_utf8, ""),
    "binary": (_encode_binary, b""),
    "date": (_encode_dates, _EPOCH.date()),
    "time": (_encode_times, datetime.time()),
    "timestamp": (_encode_timestamps, _EPOCH),
    "timestamp_ltz": (_encode_points, _EPOCH),
    "decimal": (_encode_decimals, decimal.Decimal(0)),
    "array": (_encode_nested, _ABSENT),
    "map": (_encode_nested, _ABSENT),
    "row": (_encode_nested, _ABSENT),
}

_PYTHON_TYPE = {
    "boolean": bool,
    "int8": int,
    "int16": int,
    "int32": int,
    "int64": int,
    "float32": float,
    "float64": float,
    "utf8": str,
    "binary": bytes,
    "date": datetime.date,
    "time": datetime.time,
    "timestamp": datetime.datetime,
    "timestamp_ltz": datetime.datetime,
    "decimal": decimal.Decimal,
}
