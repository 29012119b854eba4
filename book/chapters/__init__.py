"""The chapters: a folder each, with what it simulates, its figures and its tables."""
