"""ONNX files as graphs: guarded reading, a rule for each op, a check against ONNX Runtime."""
