"""Policies that ask who can still be in time."""
