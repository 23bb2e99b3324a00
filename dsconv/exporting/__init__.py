"""A trained network as a file that runs elsewhere: LiteRT, ONNX, StableHLO, safetensors, C, a web page."""
