"""Fetch a file with Twisted: python twisted_get.py tcp:localhost:8080 hello.txt > hello.txt"""

import sys

from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from tcpdl.protocol import NativeClientFactory


async def main(reactor, server, name):
    endpoint = clientFromString(reactor, server)
    client = await endpoint.connect(NativeClientFactory(reactor))
    try:
        info = await client.get(name, sys.stdout.buffer.write)
    finally:
        client.transport.loseConnection()
    print(f"{name}: {info.size} bytes, all of them checked", file=sys.stderr)


react(main, sys.argv[1:])
