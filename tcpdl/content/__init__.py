"""What can be downloaded. No sockets, no Twisted: it imports the standard library, `tcpdl.wire` and
`tcpdl.digest`."""
