"""The network in other libraries: what `dsconv.performance.network` starts, one module a library."""
