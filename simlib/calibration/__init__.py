"""From measurements to a law."""
