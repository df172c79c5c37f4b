"""The commands of the command line, one module each: `parser` and `run`.

Imports `tcpdl.client` and `tcpdl.wire`. Only the command that is run is imported.
"""
