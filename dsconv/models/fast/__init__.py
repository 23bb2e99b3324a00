"""Computes the same networks from the same parameters in less time, on CPU and on TPU.

`dsconv.FastDSConv` is the network of the thesis. `conv_general_dilated` and `dot_general` of `convolutions` are
arguments of `nn.Conv` and `nn.Dense`, for any network with square kernels, equal strides and no dilation. The
measurements are in docs/cpu.md and docs/tpu.md.
"""
