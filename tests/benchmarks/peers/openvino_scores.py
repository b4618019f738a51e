"""Score images with OpenVINO on command, see serving.py; in an environment of its own.

One image at a time runs with all threads, as OpenVINO's hint LATENCY has it. Several are shared out, one a stream, as
its hint THROUGHPUT has it. Both in float32: where it can, OpenVINO takes bfloat16 by itself.

python openvino_scores.py THREADS
"""

import sys
from functools import cache

import numpy as np
import openvino
from serving import highest, serve


def load(path):
    """Read an ONNX file; it is compiled when images come."""
    core = openvino.Core()
    model = core.read_model(path)

    @cache
    def compiled(hint, side):
        model.reshape([1, 3, side, side])
        threads = {"INFERENCE_NUM_THREADS": int(sys.argv[1])}
        options = {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": "f32", **threads}
        return openvino.AsyncInferQueue(core.compile_model(model, "CPU", options))

    def score(images):
        queue = compiled("LATENCY" if len(images) == 1 else "THROUGHPUT", images.shape[-1])
        found = np.empty(len(images), np.float32)

        def keep(request, place):
            found[place] = highest([output.data for output in request.output_tensors])[0]

        queue.set_callback(keep)
        for place in range(len(images)):
            queue.start_async({0: images[place : place + 1]}, place)
        queue.wait_all()
        return found

    return score


if __name__ == "__main__":
    serve(openvino.__version__, load)
