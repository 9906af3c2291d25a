"""Prints the path of ONNX Runtime's library."""

from pathlib import Path

import onnxruntime

print(next((Path(onnxruntime.__file__).parent / "capi").glob("*onnxruntime.so.*")))
