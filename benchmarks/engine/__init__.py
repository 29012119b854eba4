"""Does the simulator keep time with a real vLLM server? Predicted first, then measured, on this machine.

``make engine``, or ``python -m benchmarks.engine [DEVICE …] [--full] [--folder FOLDER]``.
"""
