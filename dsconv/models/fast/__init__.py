"""The same networks from the same parameters in less time, on a CPU and on a TPU.

`dsconv.FastDSConv` is the network of the thesis. `conv_general_dilated` and `dot_general` of `convolutions` go into
`nn.Conv` and `nn.Dense` of any network with square kernels, equal strides and no dilation. The measurements are in
docs/cpu.md and docs/tpu.md.
"""
