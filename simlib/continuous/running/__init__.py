"""Those that run: whose prompts are begun, who loses its memory, who leaves, and steps that nothing changes."""
