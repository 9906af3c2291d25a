"""Writes one table with a column of every type to Parquet files, in several encodings and compressions, and
what its cells mean to typed.json.

typed.py, in this folder; needs the versions of requirements.txt.
"""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

here = Path(__file__).parent
day, moment = dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 13, 5, 59, 250000)
zone = dt.timezone(dt.timedelta(hours=2))
columns = {
    # Name: type, values, and the cells that they are: numbers, or texts.
    "small": (pa.int8(), [1, None, -3], [1, None, -3]),
    "whole": (pa.int64(), [1, 2**53, None], [1, 2**53, None]),
    "wide": (pa.int64(), [2**53 + 1, None, -1], [str(2**53 + 1), "", "-1"]),
    "unsigned": (pa.uint64(), [2**64 - 1, 0, None], [str(2**64 - 1), "0", ""]),
    "half": (pa.float16(), [0.5, None, -2.0], [0.5, None, -2.0]),
    "single": (pa.float32(), [0.25, float("nan"), 1e30], [0.25, None, 1.0000000150474662e30]),
    "double": (pa.float64(), [0.1, None, float("inf")], [0.1, None, "inf"]),
    "price": (pa.decimal128(12, 2), [Decimal("19.99"), None, Decimal("-0.05")], [19.99, None, -0.05]),
    "flag": (pa.bool_(), [True, None, False], ["true", "", "false"]),
    "text": (pa.string(), ["a", None, "é, \"b\"\n"], ["a", "", "é, \"b\"\n"]),
    "large text": (pa.large_string(), ["x", "", None], ["x", "", ""]),
    "category": (pa.dictionary(pa.int8(), pa.string()), ["red", None, "red"], ["red", "", "red"]),
    "day": (pa.date32(), [day, None, dt.date(1899, 12, 31)], ["2024-02-29", "", "1899-12-31"]),
    "time": (pa.timestamp("us"), [moment, None, moment], ["2024-02-29 13:05:59.25", "", "2024-02-29 13:05:59.25"]),
    "zoned": (
        pa.timestamp("ms", "UTC"),
        [moment.replace(tzinfo=zone), None, None],
        ["2024-02-29 11:05:59.25", "", ""],
    ),
    "nothing": (pa.null(), [None] * 3, [None] * 3),
}
table = pa.table({name: pa.array(values, kind) for name, (kind, values, _) in columns.items()})
for name, options in {
    "snappy": {},
    "zstd-2": {"compression": "zstd", "data_page_version": "2.0", "row_group_size": 2},
    "gzip": {"compression": "gzip", "use_dictionary": False},
    "lz4": {"compression": "lz4"},
    "delta": {
        "use_dictionary": False,
        "column_encoding": {
            **{name: "DELTA_BINARY_PACKED" for name in ["small", "whole", "wide", "unsigned", "day", "time", "zoned"]},
            **{name: "BYTE_STREAM_SPLIT" for name in ["half", "single", "double", "price"]},
            "text": "DELTA_BYTE_ARRAY",
            "large text": "DELTA_LENGTH_BYTE_ARRAY",
        },
    },
    "int96": {"use_deprecated_int96_timestamps": True, "version": "1.0"},
    "plain": {"compression": "none", "store_schema": False},
}.items():
    pa.parquet.write_table(table, here / f"typed-{name}.parquet", **options)
lists = pa.table({"a": [1], "tags": pa.array([["x", "y"]])})
pa.parquet.write_table(lists, here / "lists.parquet")
# A constant column takes next to nothing, however many rows it has.
many = pa.table({"a": pa.array([0] * 9_000_000, pa.int8())})
pa.parquet.write_table(many, here / "many.parquet", compression="zstd", write_statistics=False, row_group_size=9_000_000)
cells = {name: cells for name, (_, _, cells) in columns.items()}
(here / "typed.json").write_text(json.dumps(cells, ensure_ascii=False, indent=1) + "\n")
