"""What a real engine left behind, its log and its settings, and how it is served again and laws are fitted to it."""
