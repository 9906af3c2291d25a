"""Makes small HDF5 files: each shows one way in which h5py stores something.

    pip install -r requirements.txt
    python make.py

All but those that say otherwise hold the numbers 0, 1/8, 2/8 and so on as `layers/dense/vars/0`, of
shape [2, 3, 4].
"""

from pathlib import Path

import h5py
import numpy as np

here = Path(__file__).parent
path = "layers/dense/vars/0"
cells = np.arange(24, dtype="<f4").reshape(2, 3, 4) / 8


def file(name, **options):
    return h5py.File(here / f"{name}.h5", "w", **options)


def low(file, layout=None, make=None, shape=cells.shape):
    """A dataset made by the functions of the C library."""
    group = file.require_group("layers/dense/vars")
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if layout is not None:
        options.set_layout(layout)
    if make:
        make(options)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(group.id, b"0", h5py.h5t.IEEE_F32LE, space, options))


# Read.

for name, dtype in {
    "f16": "<f2", "f32": "<f4", "f64": "<f8", "big-f16": ">f2", "big-f32": ">f4", "big-f64": ">f8",
}.items():
    with file(name) as f:
        f[path] = cells.astype(dtype)
for name, dtype in {
    "i8": "i1", "i16": ">i2", "i32": "<i4", "i64": ">i8", "u8": "u1", "u16": ">u2", "u32": "<u4",
    "u64": "<u8",
}.items():
    with file(name) as f:
        f[path] = (cells * 8).astype(dtype)
for name, libver in {"latest": "latest", "earliest": "earliest", "v108": ("v108", "v108")}.items():
    with file(name, libver=libver) as f:
        f[path] = cells
        f[path].parent.attrs["name"] = "first"
with file("compact") as f:
    low(f, h5py.h5d.COMPACT)[...] = cells
with file("compact-latest", libver="latest") as f:
    low(f, h5py.h5d.COMPACT)[...] = cells
for name, options in {
    "chunks": {},
    "gzip": {"compression": "gzip"},
    "shuffle": {"shuffle": True},
    "gzip-shuffle": {"compression": "gzip", "shuffle": True},
    "fletcher32": {"fletcher32": True},
    "all-filters": {"compression": 9, "shuffle": True, "fletcher32": True},
}.items():
    with file(name) as f:
        f.create_dataset(path, data=cells, chunks=(2, 2, 3), **options)
with file("large-chunk") as f:
    f.create_dataset(path, data=cells, chunks=(5, 4, 9), maxshape=(None,) * 3, compression="gzip")
with file("skipped-filter") as f:
    data = f.create_dataset(path, cells.shape, "<f4", chunks=cells.shape, compression="gzip")
    data.id.write_direct_chunk((0, 0, 0), cells.tobytes(), filter_mask=1)
with file("many-chunks") as f:
    f.create_dataset(path, data=np.arange(3000, dtype="<i2"), chunks=(7,))
with file("many-links") as f:
    for at in range(300):
        f[f"layers/dense/vars/{at}"] = np.float32(at)
with file("long-header") as f:
    f[path] = cells
    f[path].attrs["dtype"] = "float32"
    for at in range(100):
        f[path].attrs[f"attribute {at}"] = "x" * at
with file("long-header-latest", libver="latest") as f:
    f[path] = cells
    for at in range(8):
        f[path].attrs[f"attribute {at}"] = "x" * 100 * at
with file("tracked", track_order=True) as f:
    f[path] = cells
with file("scalar") as f:
    f[path] = np.float64(0.125)
with file("empty") as f:
    f[path] = np.zeros((0, 3), "<f4")
with file("empty-chunks") as f:
    f.create_dataset(path, data=np.zeros((0, 3), "<f4"), chunks=(1, 3), maxshape=(None, 3))
with file("null-space") as f:
    f[path] = h5py.Empty("f4")
for name, libver in {"names": None, "names-latest": "latest"}.items():
    # Lists of names in every way, as Keras' older files have them.
    with file(name, libver=libver) as f:
        f.attrs["keras_version"] = "2.15.0"
        f.attrs["layer_names0"] = [b"first", b"second"]
        f.attrs["layer_names1"] = np.array(["größte"], dtype=h5py.string_dtype())
        f.attrs["layer_names2"] = np.array([b"last   "], dtype="S9")
        for at, layer in enumerate(["first", "second", "größte", "last   "]):
            f.create_group(layer).attrs["weight_names"] = [f"{layer}/kernel:0".encode()]
            f[f"{layer}/{layer}/kernel:0"] = np.float32(at)
        f.create_group("top_level_model_weights").attrs["weight_names"] = []
with file("two-kernels") as f:
    f.attrs["layer_names"] = ["both"]
    names = ["forward/kernel:0", "backward/kernel:0", "bias:0"]
    f.create_group("both").attrs["weight_names"] = names
    for name in names:
        f[f"both/{name}"] = np.float32(1)

# Refused.

with file("soft-link") as f:
    f[path] = cells
    f["layers/dense/vars/1"] = h5py.SoftLink("/" + path)
with file("soft-link-latest", libver="latest") as f:
    f[path] = h5py.SoftLink("/elsewhere")
with file("external-link") as f:
    f[path] = h5py.ExternalLink("/etc/passwd", "/")
with file("hard-link") as f:
    f[path] = cells
    f["layers/dense/vars/1"] = f[path]
with file("cycle") as f:
    f[path] = cells
    f["layers/dense/layers"] = f["layers"]
with file("external-storage") as f:
    low(f, make=lambda options: options.set_external(b"/etc/passwd", 0, 96))
with file("virtual") as f:
    layout = h5py.VirtualLayout(cells.shape, "<f4")
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", cells.shape)
    f.create_virtual_dataset(path, layout)
with file("committed-type") as f:
    f["type"] = np.dtype("<f4")
    f.create_dataset(path, data=cells, dtype=f["type"])
with file("committed-attribute", libver="latest") as f:
    f["type"] = h5py.string_dtype(length=5)
    f[path] = cells
    f["layers/dense/vars"].attrs.create("name", b"first", dtype=f["type"])
with file("compound") as f:
    f[path] = np.zeros(3, [("a", "<f4"), ("b", "<i4")])
with file("enumerated") as f:
    f[path] = cells > 1
with file("complex") as f:
    f[path] = cells.astype("complex64")
with file("opaque") as f:
    f[path] = np.zeros(3, "V2")
with file("texts") as f:
    f[path] = ["a", "b"]
with file("reference") as f:
    f.create_dataset(path, data=f.ref, dtype=h5py.ref_dtype)
with file("lzf") as f:
    f.create_dataset(path, data=cells, chunks=(2, 2, 3), compression="lzf")
with file("scale-offset") as f:
    f.create_dataset(path, data=cells, chunks=(2, 2, 3), scaleoffset=4)
with file("dense-group", libver="latest") as f:
    for at in range(20):
        f[f"layers/dense_{at}/vars/0"] = np.float32(at)
with file("dense-attributes", libver="latest") as f:
    f[path] = cells
    for at in range(20):
        f["layers/dense/vars"].attrs[f"attribute {at}"] = "x"
with file("latest-chunks", libver="latest") as f:
    f.create_dataset(path, data=cells, chunks=(2, 2, 3))
with file("unwritten") as f:
    low(f)
with file("unwritten-chunks") as f:
    f.create_dataset(path, cells.shape, "<f4", chunks=(2, 2, 3))
with file("missing-chunk") as f:
    f.create_dataset(path, (4, 3, 4), "<f4", chunks=(1, 3, 4))[:3] = 1
with file("bomb") as f:
    f.create_dataset(path, data=np.zeros(20 << 20, "<f4"), chunks=(20 << 20,), compression=9)
with file("shape-bomb") as f:
    low(f, shape=(1 << 40, 1 << 20))
with file("deep") as f:
    f["/".join(["x"] * 40)] = np.float32(0)
with file("no-keras") as f:
    f["x"] = cells
properties = h5py.h5p.create(h5py.h5p.FILE_CREATE)
properties.set_sizes(4, 4)
name = str(here / "short-addresses.h5").encode()
with h5py.File(h5py.h5f.create(name, h5py.h5f.ACC_TRUNC, properties)) as f:
    f[path] = cells
with file("user-block", userblock_size=512) as f:
    f[path] = cells
