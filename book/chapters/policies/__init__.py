"""Which scheduler when: every policy on the same requests, by traffic, load and execution."""
