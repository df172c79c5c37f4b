"""What HTTP is answered with: requests, conditions, ranges, pages, archives. No sockets.

Imports `wire`, `digest`, `content`, and the libraries that parse requests and render pages.
"""
