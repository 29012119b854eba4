"""Which claims of the original document and of both papers hold: the ledger, and what counts as a claim."""
