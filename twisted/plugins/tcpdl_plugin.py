"""`twistd tcpdl`: tells Twisted where the daemon is. Holds one ServiceMaker and nothing else."""

from twisted.application.service import ServiceMaker

tcpdl = ServiceMaker(
    "tcpdl",
    "tcpdl.service",
    "Hand out the files below a folder to any TCP client, with an echo service.",
    "tcpdl",
)
