"""Bytes and messages both ends share. Imports the standard library only: no I/O, no clock."""
