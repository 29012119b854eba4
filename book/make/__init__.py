"""How the book is made: studies are executed, their tables and figures collected, the pages built from the copies.

`studies` reads what notebooks/studies.yaml declares, `imports` finds the modules that a notebook uses, `execute` runs
one study, `prose` holds what its page says, `pages` builds the HTML, `graph` says what depends on what, `tables`
compares with what is committed, `picture` photographs the explorer, `pdf` prints the book, both in `browser`.
Run it from the project's root: ``python -m book.make``.
"""
