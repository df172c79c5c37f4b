"""A client that sends KeyUpdates, which Python's `ssl` has no call for: OpenSSL through ctypes."""

from __future__ import annotations

import ctypes
import ctypes.util
from typing import Any

import pytest

_NOT_REQUESTED, REQUESTED = 0, 1


class KeyUpdating:
    """One end of a TLS 1.3 connection, between two buffers. It trusts whoever answers."""

    def __init__(self) -> None:
        try:
            self._ssl: Any = ctypes.CDLL(ctypes.util.find_library("ssl") or "libssl.so.3")
            self._crypto: Any = ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so.3")
        except OSError:
            pytest.skip("there is no libssl that ctypes can load")
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self._context = self._call(self._ssl.SSL_CTX_new, self._call(self._ssl.TLS_client_method))
        self._tls = self._call(self._ssl.SSL_new, self._context)
        kind = self._call(self._crypto.BIO_s_mem)
        self._incoming = self._call(self._crypto.BIO_new, kind)
        self._outgoing = self._call(self._crypto.BIO_new, kind)
        self._ssl.SSL_set_bio.argtypes = [pointer, pointer, pointer]
        self._ssl.SSL_set_bio(self._tls, self._incoming, self._outgoing)
        self._ssl.SSL_do_handshake.argtypes = [pointer]
        self._ssl.SSL_set_connect_state.argtypes = [pointer]
        self._ssl.SSL_key_update.argtypes = [pointer, number]
        self._ssl.SSL_write.argtypes = [pointer, ctypes.c_char_p, number]
        self._ssl.SSL_read.argtypes = [pointer, ctypes.c_char_p, number]
        self._ssl.SSL_free.argtypes = self._ssl.SSL_CTX_free.argtypes = [pointer]
        self._crypto.BIO_read.argtypes = [pointer, ctypes.c_char_p, number]
        self._crypto.BIO_write.argtypes = [pointer, ctypes.c_char_p, number]
        self._ssl.SSL_set_connect_state(self._tls)

    def close(self) -> None:
        self._ssl.SSL_free(self._tls)  # and what it reads from and writes to
        self._ssl.SSL_CTX_free(self._context)

    def shake(self, received: bytes) -> bytes:
        """Go on with the handshake; what is to be sent."""
        self._crypto.BIO_write(self._incoming, received, len(received))
        self._ssl.SSL_do_handshake(self._tls)
        return self._take()

    def update(self, count: int, *, requested: bool = False) -> bytes:
        """So many KeyUpdates, which ask for as many of the other side if `requested`."""
        for _ in range(count):
            assert self._ssl.SSL_key_update(self._tls, REQUESTED if requested else 0) == 1
            assert self._ssl.SSL_do_handshake(self._tls) == 1
        return self._take()

    def encrypt(self, data: bytes) -> bytes:
        assert self._ssl.SSL_write(self._tls, data, len(data)) == len(data)
        return self._take()

    def decrypt(self, received: bytes) -> bytes:
        """What the other side has said."""
        self._crypto.BIO_write(self._incoming, received, len(received))
        parts = []
        buffer = ctypes.create_string_buffer(65536)
        while (count := self._ssl.SSL_read(self._tls, buffer, 65536)) > 0:
            parts.append(buffer.raw[:count])
        return b"".join(parts)

    def _take(self) -> bytes:
        parts = []
        buffer = ctypes.create_string_buffer(65536)
        while (count := self._crypto.BIO_read(self._outgoing, buffer, 65536)) > 0:
            parts.append(buffer.raw[:count])
        return b"".join(parts)

    @staticmethod
    def _call(function: Any, *args: Any) -> Any:
        function.restype = ctypes.c_void_p
        function.argtypes = [ctypes.c_void_p] * len(args)
        return function(*args)
