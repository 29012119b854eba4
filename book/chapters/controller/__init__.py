"""The SLA controller at work: which branch it takes, and how it collapses."""
