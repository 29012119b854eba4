"""Requests that wait for answers: closed loops of clients, conversations, how long somebody thinks."""
