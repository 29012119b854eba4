"""Those that run: whose prompts are begun, who loses its memory, whose end nobody knows, whose client is gone."""
