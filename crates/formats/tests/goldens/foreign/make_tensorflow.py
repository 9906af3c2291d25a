"""Makes small files of TensorFlow that are named and not read.

    pip install -r requirements.txt
    python make_tensorflow.py
"""

import shutil
import tempfile
from pathlib import Path

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

here = Path(__file__).parent


class Module(tf.Module):
    def __init__(self):
        super().__init__()
        self.w = tf.Variable(tf.ones((2, 2)))

    @tf.function(input_signature=[tf.TensorSpec((1, 2))])
    def __call__(self, x):
        return x @ self.w


module = Module()
with tempfile.TemporaryDirectory() as folder:
    tf.saved_model.save(module, folder)
    shutil.copy(Path(folder) / "saved_model.pb", here / "saved_model.pb")
    (here / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())
    tf.train.CheckpointManager(tf.train.Checkpoint(m=module), folder, 1).save()
    shutil.copy(Path(folder) / "ckpt-1.index", here / "ckpt-1.index")
frozen = convert_variables_to_constants_v2(module.__call__.get_concrete_function())
(here / "frozen.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
