"""What a prefix cache changes: hits, time to first token and capacity, by memory, places and router."""
