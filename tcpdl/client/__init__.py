"""The client. Imports the standard library and `tcpdl.wire` only.

Importing Twisted takes twenty times as long as fetching a small file does, so nothing here does.
"""
