"""The four levels of fidelity: what was claimed, rankings at matched load, the number of bins, contests."""
