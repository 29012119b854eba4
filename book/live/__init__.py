"""The simulator in the page: kernels over the library's own, and the WebAssembly that numba's output becomes."""
