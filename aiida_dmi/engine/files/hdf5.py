"""HDF5 files from elsewhere: whole, of one file, and no larger in memory than on the disk allows."""

from __future__ import annotations

import mmap
import os
import struct

import h5py

COMPRESSION = 100
"""Numbers of a calculation do not compress so much; a dataset that promises more than this of what it stores lies."""
SMALL = 1024**2
"""Bytes that a dataset may promise whatever it stores: constant labels compress by any factor."""
DIMENSION = b"This is a netCDF dimension but not a netCDF variable."
"""How the attribute NAME of a dataset that netCDF never writes to begins."""


def check_whole(file: h5py.File) -> None:
    """Refuse an HDF5 file that is not all there, or refers to other files.

    HDF5 answers with zeros where a dataset was created and never written, takes the content of links and datasets from
    any other file that they name, and unpacks a few kilobytes to any size.

    Call it before anything is read of the file: some damage the HDF5 library would read for ever.

    Raises
    ------
    ValueError
        Naming the dataset or the link.
    """
    length = os.path.getsize(file.filename)
    _check_heaps(file.filename)
    waiting, seen = [file["/"]], set()
    while waiting:
        group = waiting.pop()
        # A group can hold itself.
        if (address := h5py.h5o.get_info(group.id).addr) in seen:
            continue
        seen.add(address)
        _check_attributes(group)
        for name in group:
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise ValueError(f"{name} is a link to another file, expected all data in this one")
            found = group.get(name)
            if isinstance(found, h5py.Dataset):
                _check_dataset(found, found.name.strip("/"), length)
            elif isinstance(found, h5py.Group):
                waiting.append(found)


HEAP = struct.Struct("<4sB3sQ")
"""Global heap collection, which holds texts and lists of any length: signature, version, nothing, size."""
HEAP_OBJECT = struct.Struct("<HH4sQ")
"""Index, references, nothing, size; of index 0, the free space, the size is that with this header."""


def _check_heaps(path: str) -> None:
    """Refuse free space of no size in a global heap: HDF5 1.14 goes round in it for ever."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(b"GCOL")
        while start >= 0:
            if start + HEAP.size <= len(content):
                _check_heap(content, start)
            start = content.find(b"GCOL", start + 4)


def _check_heap(content: mmap.mmap, start: int) -> None:
    _, version, nothing, size = HEAP.unpack_from(content, start)
    if version != 1 or nothing != bytes(3):  # these four letters among numbers
        return
    place, end = start + HEAP.size, min(start + size, len(content))
    while place + HEAP_OBJECT.size <= end:
        index, _, _, length = HEAP_OBJECT.unpack_from(content, place)
        if index == 0 and length == 0:
            raise ValueError("its texts and lists are damaged (free space of no size)")
        place += HEAP_OBJECT.size + -(-length // 8) * 8 if index else length


def _check_attributes(owner: h5py.Group | h5py.Dataset) -> None:
    for name in owner.attrs:
        kind = owner.attrs.get_id(name).get_type()
        of_netcdf = name == "DIMENSION_LIST" and kind.get_class() == h5py.h5t.VLEN
        if of_netcdf and kind.get_super().get_class() == h5py.h5t.REFERENCE:
            continue
        if name != "REFERENCE_LIST":
            _check_type(kind, f"attribute {name}")


def _check_type(kind: h5py.h5t.TypeID, name: str) -> None:
    """Numbers and texts; reading a list of no type in a damaged file can end the process."""
    refused = (h5py.h5t.VLEN, h5py.h5t.REFERENCE, h5py.h5t.OPAQUE, h5py.h5t.TIME)
    if kind.get_class() in refused or any(kind.detect_class(one) for one in refused[:2]):
        raise ValueError(f"{name} holds neither numbers nor texts; the file is damaged, or not of this kind")


def _check_dataset(dataset: h5py.Dataset, name: str, length: int) -> None:
    _check_attributes(dataset)
    _check_type(dataset.id.get_type(), f"dataset {name}")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"dataset {name} takes its values from another file, expected all data in this one")
    promised = (dataset.size or 0) * dataset.dtype.itemsize
    stored = min(int(dataset.id.get_storage_size()), length)
    if promised and not stored and not bytes(dataset.attrs.get("NAME", b"")).startswith(DIMENSION):
        raise ValueError(f"dataset {name} was never written; the run that made the file did not finish")
    if promised > max(SMALL, COMPRESSION * stored):
        raise ValueError(f"dataset {name} promises {promised} bytes and stores {stored}; the file is damaged")
