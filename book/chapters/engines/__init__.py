"""How far off the simulated engine is: predicted against measured, engine by engine, beside a straight line."""
