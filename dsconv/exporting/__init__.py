"""Exports a trained network for other runtimes: LiteRT, ONNX, StableHLO, safetensors, C, a web page."""

# Format → (required packages, available precisions).
FORMATS = {
    'litert': (('litert_converter', 'litert_quantizer', 'ai_edge_litert'), ('float32', 'float16', 'int8')),
    'onnx': (('onnx', 'onnxruntime'), ('float32',)),
    'stablehlo': ((), ('float32',)),
    'safetensors': (('safetensors',), ('float32',)),
    'web': (('onnx', 'onnxruntime'), ('float32',)),
    'c': (('litert_converter', 'litert_quantizer', 'ai_edge_litert'), ('float32', 'int8')),
}
PRECISIONS = ('float32', 'float16', 'int8')
