"""Options that say who may stand before the daemon. Imports Twisted and `server`."""

from __future__ import annotations

import ipaddress

from twisted.python import usage

from tcpdl.server.proxied import Network, Proxies


class FrontOptions(usage.Options):
    """Who may stand before the daemon."""

    def __init__(self) -> None:
        super().__init__()
        self["proxy-from"] = []

    def opt_proxy_from(self, network: str) -> None:
        """Connections from here begin with a PROXY header (v1 or v2), which says whose they are: an
        address, a network as in 10.0.0.0/8, or unix; may be given several times."""
        if network != "unix":
            try:
                whole = ipaddress.ip_network(network, strict=False)
            except ValueError:
                raise usage.UsageError(
                    f"--proxy-from: {network!r} is no address, no network such as 10.0.0.0/8, and "
                    "not 'unix'"
                ) from None
            if "/" in network and whole.network_address != ipaddress.ip_address(
                network.partition("/")[0]
            ):
                raise usage.UsageError(
                    f"--proxy-from: {network!r} is an address within a network; write {whole} for "
                    "all of that"
                )
        self["proxy-from"].append(network)

    def proxies(self) -> Proxies | None:
        """Who is believed to say whose connections they pass on; nothing, if nobody is."""
        given: list[str] = self["proxy-from"]
        if not given:
            return None
        networks: list[Network] = [ipaddress.ip_network(one) for one in given if one != "unix"]
        return Proxies(networks, unix="unix" in given)
