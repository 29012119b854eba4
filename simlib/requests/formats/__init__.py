"""Every file of requests that is read, one format a module: `known.parse` finds out which and reads it.

`document` takes a file apart, `layout` reads rows with columns, `clocks` tells the unit of a clock, `blocks` the size
of a prompt's blocks. A format is one function and its marks; ``traces`` hold what came when, ``results`` what a
benchmark measured, ``aggregates`` what has no rows.
"""
