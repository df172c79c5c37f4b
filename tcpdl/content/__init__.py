"""What can be downloaded. Imports the standard library and `tcpdl.wire`: no sockets, no Twisted."""
