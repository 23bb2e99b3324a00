"""A trained network as a file that runs elsewhere: LiteRT, ONNX, StableHLO, safetensors, C, a web page."""

# Format → (packages that it needs, precisions that it is written in).
FORMATS = {
    'litert': (('litert_converter', 'litert_quantizer', 'ai_edge_litert'), ('float32', 'float16', 'int8')),
    'onnx': (('onnx', 'onnxruntime'), ('float32',)),
    'stablehlo': ((), ('float32',)),
    'safetensors': (('safetensors',), ('float32',)),
    'web': (('onnx', 'onnxruntime'), ('float32',)),
    'c': (('litert_converter', 'litert_quantizer', 'ai_edge_litert'), ('float32', 'int8')),
}
PRECISIONS = ('float32', 'float16', 'int8')
