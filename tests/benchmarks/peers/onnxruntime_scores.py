"""Score images with ONNX Runtime on command, see serving.py; in an environment of its own.

python onnxruntime_scores.py THREADS
"""

import sys

import onnxruntime
from serving import highest, serve


def load(path):
    """Read an ONNX file for any number of images, float32 throughout."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(sys.argv[1])
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: highest(session.run(None, {"images": images}))


if __name__ == "__main__":
    serve(onnxruntime.__version__, load)
