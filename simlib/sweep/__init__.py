"""Many cells: a grid, its recipes, its workers, its results."""
