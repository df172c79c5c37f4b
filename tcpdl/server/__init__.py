"""The Twisted side: protocols, factories and the transport that sends files.

Imports `tcpdl.wire`, `tcpdl.content` and Twisted. No module here imports the reactor: it is
handed in.
"""
