"""What HTTP is answered with: requests, conditions, ranges, pages, archives. No I/O of its own.

Imports `wire`, `digest`, `content`, and the libraries that parse requests and render pages.
"""
