"""How much load is carried: the largest rate, or the most clients, at which few enough requests are late."""
