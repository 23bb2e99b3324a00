"""The same networks from the same parameters in less time, on a CPU and on a TPU.

`dsconv.FastDSConv` is the network of the thesis. `conv_general_dilated` and `dot_general` go into `nn.Conv` and
`nn.Dense` of any network. The measurements are in docs/cpu.md and docs/tpu.md.
"""

from dsconv.models.fast.convolutions import conv_general_dilated, dot_general, subsample
from dsconv.models.fast.dsconv import FastDSConv
from dsconv.models.fast.unit import FastConvUnit

__all__ = ['FastConvUnit', 'FastDSConv', 'conv_general_dilated', 'dot_general', 'subsample']
