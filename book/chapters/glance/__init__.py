"""All results of the book on one page."""
