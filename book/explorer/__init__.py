"""Drag the deadline, the bins, the GPUs, and see who is late: in Jupyter (`explore`), and on a page of the book."""
