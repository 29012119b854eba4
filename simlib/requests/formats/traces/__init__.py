"""Files that say what came when, and how long it was."""
