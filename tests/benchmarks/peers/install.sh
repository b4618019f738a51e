#!/bin/sh
# Make .peers/: environments of the programs that classifying.py measures, which are no dependencies of the workbook.
set -e
cd "$(dirname "$0")/../../.."
for packages in "opencv opencv-python-headless<5" "onnxruntime onnxruntime" "openvino openvino"; do
    set -- $packages
    ${PYTHON:-python3.11} -m venv ".peers/$1"
    ".peers/$1/bin/pip" install --quiet "$2"
done
# torch writes ONNX files with this package; a folder, so that nothing is added to the workbook's own environment
${PYTHON:-python3.11} -m pip install --quiet --no-deps --upgrade --target .peers/onnx onnx protobuf ml_dtypes
