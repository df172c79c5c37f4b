"""Options that say what is encrypted, and with what. Imports Twisted and `server`."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from twisted.python import usage

from tcpdl.options.reading import number
from tcpdl.server.activation import TLS
from tcpdl.server.certificate import Credentials, locate
from tcpdl.server.self_signed import NAME, self_signed, state_folder

_REMEDY = "needs a certificate: give --tls-cert, or --tls self-signed"


class TlsPort(NamedTuple):
    """A port where TLS is required, given as `--listen tls:PORT[:interface=ADDR]`."""

    port: int
    interface: str | None


class TlsOptions(usage.Options):
    """What is encrypted, and with what."""

    optParameters: list[list[Any]] = [
        [
            "tls-cert",
            None,
            None,
            "Certificate for TLS, with its chain, in PEM; or a folder as certbot keeps them.",
        ],
        ["tls-key", None, None, "Its key, in PEM; that in the file of --tls-cert if left out."],
        ["tls", None, None, "'self-signed': make a certificate, and keep it in --state-dir."],
        [
            "tls-client-ca",
            None,
            None,
            "Ask clients for certificates, which those in this PEM must have signed.",
        ],
    ]
    optFlags = [
        ["tls-required", None, "Serve nothing over connections that are not encrypted."],
    ]

    def check_tls(self) -> None:
        """Take the ports of TLS out of `listen`, into `listen-tls`. Raises `usage.UsageError`."""
        for name in ("tls-cert", "tls-key", "tls-client-ca"):
            if self[name] is not None and not os.path.exists(self[name]):
                raise usage.UsageError(f"--{name}: there is no file {self[name]!r}")
        if self["tls"] not in (None, "self-signed"):
            raise usage.UsageError("--tls: 'self-signed' is all there is to choose")
        if self["tls"] is not None and self["tls-cert"] is not None:
            raise usage.UsageError("--tls-cert or --tls self-signed: choose one")
        if self["tls-key"] is not None and self["tls-cert"] is None:
            raise usage.UsageError("--tls-key needs --tls-cert")
        listen, self["listen-tls"] = self["listen"], []
        self["listen"] = [one for one in listen if not one.startswith("tls:")]
        self["listen-tls"] = [_port(one) for one in listen if one.startswith("tls:")]
        if self["tls"] is None and self["tls-cert"] is None:
            for name in ("tls-required", "tls-client-ca"):
                if self[name]:
                    raise usage.UsageError(f"--{name} {_REMEDY}")
            if self["listen-tls"]:
                raise usage.UsageError(f"--listen tls:{self['listen-tls'][0].port} {_REMEDY}")
            if TLS in self["handed"]:
                raise usage.UsageError(f"the socket called {TLS!r} {_REMEDY}")

    def credentials(self) -> Credentials | None:
        """What was chosen to encrypt with, if anything was. Raises `BadCertificate`."""
        certificate = self["tls-cert"]
        if self["tls"] is not None:
            certificate = self_signed(self["state-dir"] or state_folder(os.environ))
        if certificate is None:
            return None
        return Credentials(locate(certificate, self["tls-key"], self["tls-client-ca"]))

    def tls_files(self) -> list[str]:
        """The files that are read again while the daemon runs."""
        certificate = self["tls-cert"]
        if self["tls"] is not None:
            folder = self["state-dir"] or state_folder(os.environ)
            certificate = os.path.join(folder, NAME)
        if certificate is None:
            return []
        return [*filter(None, locate(certificate, self["tls-key"], self["tls-client-ca"]))]


def _port(endpoint: str) -> TlsPort:
    """What `tls:PORT[:interface=ADDR]` says, colons escaped as in all endpoints."""
    _, port, *rest = (part.replace("\\:", ":") for part in re.split(r"(?<!\\):", endpoint))
    name, _, interface = rest[0].partition("=") if rest else ("interface", "", "")
    if len(rest) > 1 or name != "interface" or bool(rest) is not bool(interface):
        raise usage.UsageError(
            f"--listen {endpoint}: write tls:PORT or tls:PORT:interface=ADDR, with \\: for each "
            "colon of an address"
        )
    return TlsPort(number(f"--listen {endpoint}", "a port number", 65535)(port), interface or None)
