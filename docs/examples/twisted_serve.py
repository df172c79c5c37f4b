"""Serve a folder from a Twisted program: python twisted_serve.py tcp:8080 folder"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react

from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.native import NativeFactory
from tcpdl.server.working import Workers


async def main(reactor, port, root):
    workers = Workers(reactor)
    workers.startService()
    reactor.addSystemEventTrigger("during", "shutdown", workers.stopService)
    factory = NativeFactory(Directory(root), Deadlines(reactor), Digests(None), workers)
    listening = await serverFromString(reactor, port).listen(factory)
    print("serving on", listening.getHost(), flush=True)
    await Deferred()


react(main, sys.argv[1:])
