"""tcpdl hands out the files below a folder over TCP, and fetches them.

The layers, each importing only those before it: `tcpdl.wire` (names and messages, no I/O),
`tcpdl.content` (what can be downloaded), `tcpdl.server` (Twisted). `tcpdl.client` stands beside
the server and imports `tcpdl.wire` only. ARCHITECTURE.md tells the rest.
"""

__version__ = "0.1.0"
