"""Damage to valid files, as hypothesis draws it: lists of small changes, applied to text, bytes or HDF5 files."""

import io
import re

import h5py
import numpy as np
from hypothesis import strategies as st

NUMBERS = (
    *("0", "-0", "1", "-1", "2", "7", "-3", "0.5", "1.5", "1e0", "1e6", "1000000", "1e12", "2147483648"),
    "-2147483649",
    *("-1e-300", "5e-324", "1e308", "-1e308", "1e309", "nan", "-nan", "NaN", "inf", "-inf", "Infinity", "********"),
    *("99999999999999999999", "-99999999999999999999", "0x10", "1_000", "1d5", "٣", "1,5", "1.0.0", "+", "-", ".", "T"),
)
"""What stands in place of a number: huge, negative, none, of another notation, of another script."""
INSERTED = (
    "\n", "\0", "\t", " ", "\r\n", "\ufeff", "é", "&", "<", ">", "<!--", "]]>", "&lt;", '"', "'", "{", "}", "[", "]",
    ":", "- ", "#", "!", "*a", "&a ", "!!python/object:os.system ", "? ", "|", "%", "null", "~", "true", "no",
    "2024-13-45", "1:2:3", "<<: ", "begin ", "end ", "(", ")", ",", "[" * 2000, "{a: " * 500, "9" * 5000,
)  # fmt: skip
TEXT_CHANGES = (
    *("number", "letter", "insert", "cut", "truncate", "delete_line", "double_line", "swap_lines", "repeat"),
    "delete_word",
)
INTEGERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
BYTE_CHANGES = ("flip", "value", "word", "long", "truncate", "delete", "insert", "zeros", "double")

_place = st.integers(0, 2**30)
_choice = st.integers(0, 2**16)
text_changes = st.lists(st.tuples(st.sampled_from(TEXT_CHANGES), _place, _choice), min_size=1, max_size=6)
byte_changes = st.lists(st.tuples(st.sampled_from(BYTE_CHANGES), _place, _choice), min_size=1, max_size=6)

_NUMBER = re.compile(r"[-+]?\.?\d[-+.\w]*")
_WORD = re.compile(r"\S+")


def damaged_text(text, changes):
    """The text after these changes."""
    for kind, place, choice in changes:
        if not text:
            return text
        if kind in ("number", "delete_word"):
            found = list((_NUMBER if kind == "number" else _WORD).finditer(text))
            if found:
                match = found[place % len(found)]
                new = NUMBERS[choice % len(NUMBERS)] if kind == "number" else ""
                text = text[: match.start()] + new + text[match.end() :]
        elif kind in ("delete_line", "double_line", "swap_lines", "repeat"):
            text = _changed_lines(text.split("\n"), kind, place, choice)
        else:
            at = place % len(text)
            new = {
                "letter": lambda: chr(32 + choice % 95) + text[at + 1 :],  # noqa: B023
                "insert": lambda: INSERTED[choice % len(INSERTED)] + text[at:],  # noqa: B023
                "cut": lambda: text[at + 1 + choice % 200 :],  # noqa: B023
                "truncate": lambda: "",
            }[kind]
            text = text[:at] + new()
    return text


def _changed_lines(lines, kind, place, choice):
    at, other = place % len(lines), choice % len(lines)
    if kind == "delete_line":
        del lines[at]
    elif kind == "double_line":
        lines.insert(other, lines[at])
    elif kind == "swap_lines":
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at : at + 1] = [lines[at]] * (1 + choice % 50)
    return "\n".join(lines)


def damaged_bytes(content, changes):
    """The bytes after these changes."""
    result = bytearray(content)
    for kind, place, choice in changes:
        if not result:
            break
        at = place % len(result)
        number = INTEGERS[choice % len(INTEGERS)]
        if kind == "flip":
            result[at] ^= 1 << choice % 8
        elif kind == "value":
            result[at] = choice % 256
        elif kind in ("word", "long"):
            size = 4 if kind == "word" else 8
            result[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, "little")
        elif kind == "truncate":
            del result[at:]
        elif kind == "delete":
            del result[at : at + 1 + choice % 64]
        elif kind == "insert":
            result[at:at] = bytes([choice % 256]) * (1 + choice % 64)
        elif kind == "zeros":
            result[at : at + choice % 512] = bytes(len(result[at : at + choice % 512]))
        else:
            result[at:at] = result[at : at + choice % 512]
    return bytes(result)


# -- HDF5 ----------------------------------------------------------------------------------------------

_VALUES = (0.0, 1.0, -1.0, 1e-300, 1e154, 1e308, -1e308, np.nan, np.inf, -np.inf, 0.5, 1e6)
_SCALARS = (
    0, -1, 2**31, 2**63 - 1, 1.5, np.nan, np.inf, 1e300, "text", "", b"\xff\xfe", True, np.zeros(0), np.ones((2, 3)),
    np.complex128(1j), np.zeros(3, dtype="i1"), h5py.Empty("f8"), ["a", "b"], np.array([b"x", b"yy"]),
)  # fmt: skip
_TYPES = ("f2", "f4", "i1", "u8", "c8", "c16", "S4", "bool", ">f8", "O")
HDF5_CHANGES = (
    *("value", "values", "type", "shape", "transpose", "delete", "group", "scalar", "huge", "soft", "external"),
    *("outside", "virtual", "same", "attribute", "delete_attribute"),
)
hdf5_changes = st.lists(st.tuples(st.sampled_from(HDF5_CHANGES), _place, _choice), min_size=1, max_size=4)


def damaged_hdf5(content, changes):
    """A well-formed HDF5 file after these changes: other values, types, shapes, links, attributes."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        for change in changes:
            _change(file, *change)
    return buffer.getvalue()


def _change(file, kind, place, choice):
    names = []
    file.visit(names.append)
    owners = [file, *(item for name in names if (item := file.get(name)) is not None)]
    if kind in ("attribute", "delete_attribute"):
        _change_attribute(owners[place % len(owners)], kind, choice)
        return
    if not names:
        return
    name = names[place % len(names)]
    old = file.get(name)
    # A virtual one is not read: in a file in memory, HDF5 looks for its source in this same memory.
    own = isinstance(old, h5py.Dataset) and not (old.is_virtual or old.external)
    own = own and old.shape is not None and old.size < 10**6
    array = np.asarray(old[()] if own else np.zeros(2))
    if kind in ("value", "values") and own and array.size and array.dtype.kind in "fic":
        flat = array.ravel().copy()
        value = _VALUES[choice % len(_VALUES)]
        with np.errstate(all="ignore"):
            if array.dtype.kind == "i":
                limits = np.iinfo(array.dtype)
                value = int(np.clip(np.nan_to_num(value), limits.min // 2, limits.max // 2))
            flat[choice % flat.size if kind == "value" else slice(None)] = value
        old[...] = flat.reshape(array.shape)
        return
    del file[name]
    if kind != "delete":
        _REPLACED[kind](file, name, array, choice)


def _group(file, name, array, choice):
    file.create_group(name)


def _scalar(file, name, array, choice):
    file[name] = _SCALARS[choice % len(_SCALARS)]


def _shape(file, name, array, choice):
    file[name] = array.ravel()[: choice % (array.size + 1)]


def _transposed(file, name, array, choice):
    file[name] = array.T


def _huge(file, name, array, choice):
    """Promised, never written: it reads as zeros."""
    file.create_dataset(name, shape=((10**6, 3, 10**6), (2**27,))[choice % 2], dtype="f8", chunks=True)


def _soft(file, name, array, choice):
    file[name] = h5py.SoftLink(("/", f"/{name}", "/nowhere")[choice % 3])


def _external(file, name, array, choice):
    file[name] = h5py.ExternalLink("/proc/self/environ", "/")


def _outside(file, name, array, choice):
    file.create_dataset(name, shape=(3,), dtype="u1", external=[("/etc/hostname", 0, 3)])


def _virtual(file, name, array, choice):
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", shape=(4,))
    file.create_virtual_dataset(name, layout)


def _same(file, name, array, choice):
    """A group that holds itself."""
    file[name] = file["/"]


def _of_type(file, name, array, choice):
    kind = _TYPES[choice % len(_TYPES)]
    try:
        file[name] = array.astype(str).astype(h5py.string_dtype()) if kind == "O" else array.astype(kind)
    except (TypeError, ValueError):
        file[name] = b"text"


_REPLACED = {
    **{"group": _group, "scalar": _scalar, "type": _of_type, "shape": _shape, "transpose": _transposed, "huge": _huge},
    **{"soft": _soft, "external": _external, "outside": _outside, "virtual": _virtual, "same": _same},
    **{"value": _scalar, "values": _scalar},
}


def _change_attribute(owner, kind, choice):
    present = [key for key in owner.attrs if not key.startswith(("DIMENSION", "REFERENCE"))] or ["new"]
    key = present[choice % len(present)]
    if kind == "delete_attribute":
        owner.attrs.pop(key, None)
    else:
        owner.attrs[key] = _SCALARS[choice // 16 % len(_SCALARS)]
