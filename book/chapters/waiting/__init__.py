"""Why batches waste time: eight requests, worked by hand and served by the simulator."""
