"""HDF5 files that are whole and wrong: links that lead away or in circles, shapes that nothing stores, other types."""

import os
import zlib
from functools import cache
from pathlib import Path

import h5py
import numpy as np

from tests.fuzzing.byte_mutations import Mutation

_PETABYTE = (10**6, 10**5, 10**4)


def _datasets(file: h5py.File) -> list[str]:
    """Names of all data sets, whichever links lead there."""
    found: list[str] = []

    def look(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset):
            found.append(name)

    file.visititems(look)
    return found


def _any(file: h5py.File, rng: np.random.Generator) -> str:
    """Any data set; one with patterns twice as often as another."""
    names = _datasets(file)
    large = [name for name in names if len(file[name].shape or ()) > 2]
    return str(rng.choice(large if large and rng.integers(2) else names))


def _replace(file: h5py.File, name: str, rng: np.random.Generator, kinds: tuple) -> None:
    """Put one of several things in the place of an object."""
    old = file[name]
    kind = kinds[rng.integers(len(kinds))]
    value = kind(old) if callable(kind) else kind
    del file[name]
    if value is not None:
        file[name] = value


def other_kind(path: Path, rng: np.random.Generator) -> None:
    """Text, records, references, nothing: where numbers are expected."""
    with h5py.File(path, "r+") as file:
        name = _any(file, rng)
        shape = file[name].shape or ()
        compound = np.zeros(shape or (3,), [("x", "f4"), ("y", "i4")])
        kinds = (
            np.dtype("f8"),
            "text",
            np.full(shape or (1,), b"text", "S4"),
            compound,
            h5py.Empty("f4"),
            np.zeros(shape, bool),
            np.zeros(shape, np.complex64),
            np.zeros(shape, np.float16),
            np.zeros(shape, "V7"),
            np.zeros(shape, "f16"),
            np.full(shape, 7, ">i8"),
            None,
        )
        _replace(file, name, rng, kinds)


def references(path: Path, rng: np.random.Generator) -> None:
    """Object, region and dangling references, and lists of uneven length."""
    with h5py.File(path, "r+") as file:
        name = _any(file, rng)
        shape = (file[name].shape or (1,))[:1]
        kinds = (
            h5py.ref_dtype,
            h5py.regionref_dtype,
            h5py.vlen_dtype(np.int32),
            h5py.string_dtype(),
            h5py.vlen_dtype("f8"),
        )
        number = rng.integers(len(kinds))
        del file[name]
        data = file.create_dataset(name, shape, kinds[number])
        if number == 0 and shape != (0,):
            data[0] = file.ref
        if number == 2 and shape != (0,):
            data[0] = [-1, 2**31 - 1, 5]
        if number == 3 and shape != (0,):
            data[0] = b"\xff\xfe not utf-8"


def other_values(path: Path, rng: np.random.Generator) -> None:
    """NaN, infinity, negative and absurd numbers, of the right shape."""
    with h5py.File(path, "r+") as file:
        name = _any(file, rng)
        shape = file[name].shape or ()
        value = [np.nan, np.inf, -np.inf, -1.0, 0.0, 1e308, 1e30, 5e-324, 1e6 + 1, -1e30][rng.integers(10)]
        values = np.full(shape, value)
        if rng.integers(2) and values.size > 1:
            values = np.where(rng.random(shape) < 0.5, values, 1.0)
        del file[name]
        file[name] = values


def other_shape(path: Path, rng: np.random.Generator) -> None:
    """One axis more or less, one longer or shorter, empty."""
    with h5py.File(path, "r+") as file:
        name = _any(file, rng)
        old = file[name]
        if old.dtype.kind not in "iufb":
            return
        shape = list(old.shape)
        kind = rng.integers(5)
        if kind == 0 or not shape:
            shape = [*shape, 2]
        elif kind == 1:
            shape = shape[1:]
        elif kind == 2:
            shape[rng.integers(len(shape))] += 1
        elif kind == 3:
            shape[rng.integers(len(shape))] -= 1
        else:
            shape[rng.integers(len(shape))] = 0
        dtype = old.dtype
        del file[name]
        file[name] = np.ones(shape, dtype)


def gigantic(path: Path, rng: np.random.Generator) -> None:
    """A petabyte is declared, and nothing or next to nothing stored."""
    with h5py.File(path, "r+") as file:
        name = _any(file, rng)
        old = file[name].shape or (1,)
        shapes = (
            _PETABYTE,
            (2, 10**8, 10**7),
            (old[0], 10**7, 10**8),
            (10**15,),
            (*old[:-1], 10**14),
            (10**12, *old[1:]),
        )
        shape = shapes[rng.integers(len(shapes))]
        dtype = np.dtype(str(rng.choice(["u2", "f4", "i8"])))
        del file[name]
        kind = rng.integers(4)
        if kind == 0:
            file.create_dataset(name, shape, dtype)
            return
        chunk = tuple(min(length, 4) for length in shape)
        data = file.create_dataset(
            name, shape, dtype, chunks=chunk, compression="gzip" if kind == 2 else None, maxshape=(None,) * len(shape)
        )
        if kind == 3:
            data[(0,) * len(shape)] = 1


def unwritten(path: Path, rng: np.random.Generator) -> None:
    """The right shape, but the values were never written, or only some."""
    with h5py.File(path, "r+") as file:
        names = [name for name in _datasets(file) if len(file[name].shape or ()) > 2]
        if not names:
            return
        name = str(rng.choice(names))
        old = file[name]
        shape, dtype, values = old.shape, old.dtype, old[()]
        if dtype.kind not in "iuf":
            return
        chunks = None if rng.integers(2) or 0 in shape else (1, *shape[1:])
        del file[name]
        data = file.create_dataset(name, shape, dtype, chunks=chunks, fillvalue=int(rng.integers(3)))
        if chunks and rng.integers(2):
            data[0] = values[0]


@cache
def _packed_zeros() -> bytes:
    return zlib.compress(bytes(50_000_000), 1)


def bomb(path: Path, rng: np.random.Generator) -> None:
    """A chunk that unpacks to a hundred megabytes, or claims gigabytes."""
    with h5py.File(path, "r+") as file:
        name = _any(file, rng)
        patterns = (file[name].shape or (1,))[0]
        del file[name]
        side = int(rng.choice([5000, 15000, 30000]))
        data = file.create_dataset(
            name, (max(patterns, 1), side, side), "u2", chunks=(1, side, side), compression="gzip", fillvalue=0
        )
        data.id.write_direct_chunk((0, 0, 0), _packed_zeros())


def huge_chunk(path: Path, rng: np.random.Generator) -> None:
    """The patterns lie in one chunk that is far larger than they are."""
    with h5py.File(path, "r+") as file:
        name = _any(file, rng)
        old = file[name]
        if not old.shape or 0 in old.shape or old.dtype.kind not in "iuf":
            return
        shape, dtype = old.shape, old.dtype
        del file[name]
        chunk = (min(2**31 // dtype.itemsize // int(np.prod(shape[1:])), 2**30), *shape[1:])
        data = file.create_dataset(name, shape, dtype, chunks=chunk, maxshape=(None, *shape[1:]), compression="gzip")
        data.id.write_direct_chunk((0,) * len(shape), zlib.compress(bytes(1000), 1))


def external_link(path: Path, rng: np.random.Generator) -> None:
    """An object becomes a link out of the file: to nothing, to a secret, a folder, a pipe, a device, or back."""
    targets = _outside(path)
    with h5py.File(path, "r+") as file:
        names = _datasets(file)
        name = _any(file, rng)
        if rng.integers(2):
            name = name.rpartition("/")[0] or name
        target = targets[rng.integers(len(targets))]
        del file[name]
        file[name] = h5py.ExternalLink(target, str(rng.choice([*names, "/", "/none", "//", "."])))


def external_values(path: Path, rng: np.random.Generator) -> None:
    """The values lie as raw bytes in another file, perhaps one that is not the sender's."""
    targets = _outside(path)
    with h5py.File(path, "r+") as file:
        name = _any(file, rng)
        old = file[name]
        shape, dtype = old.shape, old.dtype
        if not shape or dtype.kind not in "iuf":
            return
        target = str(targets[rng.integers(len(targets))])
        del file[name]
        file.create_dataset(name, shape, dtype, external=[(target, 0, h5py.h5f.UNLIMITED)])


def _outside(path: Path) -> list[str]:
    """Names of things beside and outside the folder of a file."""
    secret, pipe = path.parent / "secret.txt", path.parent / "pipe.h5"
    secret.write_bytes(b"secret " * 5000)
    if not pipe.exists():
        os.mkfifo(pipe)
    return [
        "none.h5", "../none.h5", "/etc/passwd", "secret.txt", str(secret), "pipe.h5", ".", "/", "/dev/zero", path.name,
        f"../{path.parent.name}/{path.name}", "/proc/self/mem", "$(touch pwned)", "a" * 300,
    ]  # fmt: skip


def soft_link(path: Path, rng: np.random.Generator) -> None:
    """A link within the file to nothing, to itself, to the root, to another kind of object, or a pair in a circle."""
    with h5py.File(path, "r+") as file:
        names = _datasets(file)
        name = _any(file, rng)
        if rng.integers(2):
            name = name.rpartition("/")[0] or name
        others = [one for one in names if not one.startswith(name)] or ["/none"]
        target = str(
            rng.choice(["/none", f"/{name}", "/", ".", "..", "../..", "", f"/{others[rng.integers(len(others))]}"])
        )
        del file[name]
        if rng.integers(4) == 0:
            file["circle"] = h5py.SoftLink(f"/{name}")
            target = "/circle"
        file[name] = h5py.SoftLink(target or "/")


def circle_of_groups(path: Path, rng: np.random.Generator) -> None:
    """A group that contains itself, or one that it lies in."""
    with h5py.File(path, "r+") as file:
        groups = ["/"]
        file.visit(lambda name: groups.append(name) if isinstance(file[name], h5py.Group) else None)
        inner, outer = (str(one) for one in rng.choice(groups, size=2))
        name = str(
            rng.choice(["again", "entry_1", "image_1", "data_1", "data", "instrument_1", "detector_1", "entry_7"])
        )
        if name not in file[inner]:
            file[inner][name] = file[outer]


def deep_groups(path: Path, rng: np.random.Generator) -> None:
    """Hundreds of groups in each other, or beside each other."""
    with h5py.File(path, "r+") as file:
        start = file[_any(file, rng)].parent
        if rng.integers(2):
            start.create_group("/".join(["deep"] * int(rng.choice([300, 3000]))))
        else:
            for number in range(int(rng.choice([50, 400]))):
                start.create_group(f"{rng.choice(['entry', 'image', 'detector', 'data', 'group'])}_{number + 20}")


def names(path: Path, rng: np.random.Generator) -> None:
    """Names that are no text, very long, hold line ends, escapes, mark-up or numbers without end."""
    odd = (
        b"\xff\xfe",
        b"line\nend",
        b"\x1b[31m",
        b"<script>alert(1)<script>",
        b"x" * 5000,
        b"entry_" + b"9" * 500,
        b"$x$",
    )
    with h5py.File(path, "r+") as file:
        data = file[_any(file, rng)]
        name = odd[rng.integers(len(odd))]
        group = data.parent if rng.integers(2) else file
        if rng.integers(2):
            group.id.links.create_hard(name, data.parent.id, data.name.rpartition("/")[2].encode())
        else:
            h5py.h5g.create(group.id, name.replace(b"/", b"|"))


def virtual(path: Path, rng: np.random.Generator) -> None:
    """Virtual data sets: of nothing, of themselves, of a pipe, of more than there is, in a circle of two files."""
    targets = _outside(path)
    with h5py.File(path, "r+", libver="latest") as file:
        candidates = [
            name for name in _datasets(file) if len(file[name].shape or ()) > 2 and file[name].dtype.kind in "iuf"
        ]
        if not candidates:
            return
        name = str(rng.choice(candidates))
        shape, dtype = file[name].shape, file[name].dtype
        layout = h5py.VirtualLayout(shape, dtype)
        kind = rng.integers(6)
        if kind == 0:
            layout[:] = h5py.VirtualSource(str(targets[rng.integers(len(targets))] or "none.h5"), name, shape)
        elif kind == 1:
            layout[:] = h5py.VirtualSource(".", name, shape)
        elif kind == 2:
            _other_file(path, name, shape, dtype)
            layout[:] = h5py.VirtualSource("circle.h5", name, shape)
        elif kind == 3:
            file["short"] = np.ones((1, *shape[1:]), dtype)
            layout[:] = h5py.VirtualSource(".", "short", shape)
        elif kind == 4:
            file["words"] = np.full(shape, b"word", "S4")
            layout[:] = h5py.VirtualSource(".", "words", shape)
        else:
            file["long"] = np.ones((10, *shape[1:]), dtype)
            layout[:1] = h5py.VirtualSource(".", "long", (10, *shape[1:]))[9:10]
        del file[name]
        file.create_virtual_dataset(name, layout, fillvalue=1)


def _other_file(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """A file beside this one whose data set has this one for its source."""
    layout = h5py.VirtualLayout(shape, dtype)
    layout[:] = h5py.VirtualSource(path.name, name, shape)
    with h5py.File(path.parent / "circle.h5", "w", libver="latest") as file:
        file.create_virtual_dataset(name, layout)


def unknown_filter(path: Path, rng: np.random.Generator) -> None:
    """A compression that nobody has, or a checksum that does not fit."""
    with h5py.File(path, "r+") as file:
        name = _any(file, rng)
        old = file[name]
        if not old.shape or 0 in old.shape or old.dtype.kind not in "iuf":
            return
        shape, dtype = old.shape, old.dtype
        del file[name]
        chunk = (1, *shape[1:])
        if rng.integers(2):
            data = file.create_dataset(name, shape, dtype, chunks=chunk, fletcher32=True)
            raw = bytes(int(np.prod(chunk)) * dtype.itemsize + 4)
            data.id.write_direct_chunk((0,) * len(shape), raw[:-1] + b"\1")
            return
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk(chunk)
        settings.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(shape)
        group = file.require_group(name.rpartition("/")[0] or "/")
        made = h5py.h5d.create(group.id, name.rpartition("/")[2].encode(), h5py.h5t.py_create(dtype), space, settings)
        made.write_direct_chunk((0,) * len(shape), b"packed")


def attributes(path: Path, rng: np.random.Generator) -> None:
    """Attributes of wrong kinds, where the file has some."""
    with h5py.File(path, "r+") as file:
        nodes = [file, *(file[name] for name in _datasets(file))]
        node = nodes[rng.integers(len(nodes))]
        known = list(node.attrs) or ["axes", "rows", "name", "wavelength_nm", "distance_m"]
        values = ("text", np.nan, np.zeros(5), -1, h5py.Empty("f4"), b"\xff\xfe", np.zeros((2, 2)), 10**12)
        node.attrs[str(rng.choice(known))] = values[rng.integers(len(values))]


HDF5: tuple[Mutation, ...] = (
    other_kind,
    other_kind,
    references,
    other_values,
    other_values,
    other_shape,
    gigantic,
    gigantic,
    unwritten,
    bomb,
    huge_chunk,
    external_link,
    external_link,
    external_values,
    soft_link,
    soft_link,
    circle_of_groups,
    deep_groups,
    names,
    virtual,
    virtual,
    unknown_filter,
    attributes,
)
