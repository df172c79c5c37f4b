"""A process that has loaded all of tcpdl, and runs commands in copies of itself.

To start Python and to load Twisted takes longer than what most commands of the documentation do.
`warm.py PATH MODULE...` listens on the Unix socket PATH once it has loaded the modules. `warm.py
PATH - PROGRAM WORD...` has a command run there, with its own files, folder and environment, and
ends with its status. A daemon is given ports that are free, stays in the foreground, and is ended
once it serves.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

SECONDS = 60

_SERVES = (b"Serving ", b"serving ")


def ask(path: str, command: list[str]) -> int:
    """Have `command` run; return its status."""
    asked = json.dumps([command, os.getcwd(), dict(os.environ)]).encode()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        socket.send_fds(sock, [len(asked).to_bytes(4, "big")], [0, 1, 2])
        sock.sendall(asked)
        return sock.recv(1)[0]


def answer(path: str, modules: list[str]) -> None:
    """Run what is asked for, until this process is killed."""
    for module in modules:
        __import__(module)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print("listening", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for copies
        while True:
            asking, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                asking.sendall(bytes([_run(asking)]))
                os._exit(0)
            asking.close()


def _run(asking: socket.socket) -> int:
    size, files, _, _ = socket.recv_fds(asking, 4, 3)
    with asking.makefile("rb") as stream:
        asked = stream.read(int.from_bytes(size, "big"))
    (program, *words), folder, environ = json.loads(asked)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    if program == "tcpdl" and words[:1] != ["serve"]:
        pid = os.fork()
        if pid == 0:
            asking.close()
            _become(program, words)
        return _status(pid)
    if program == "twistd" and "-n" not in words:
        words = ["-n", "--pidfile=", *words]
    ports = {word.partition("=")[0] for word in words} & {"--port", "--echo-port"}
    asking_end, said_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        asking.close()
        os.dup2(said_end, 1)
        os.dup2(said_end, 2)
        _become(program, [*words, *(f"{port}=0" for port in sorted(ports or {"--port"}))])
    os.close(said_end)
    said, serves = b"", False
    while more := os.read(asking_end, 65536):
        said += more
        if not serves and any(mark in said for mark in _SERVES):
            serves = True
            os.kill(pid, signal.SIGTERM)
    status = _status(pid)
    if serves and status in (0, 128 + signal.SIGTERM):
        return 0
    os.write(2, said)
    return status or 1


def _become(program: str, words: list[str]) -> None:
    """Be the program that is installed beside this Python. Does not return."""
    import runpy

    signal.alarm(SECONDS)
    sys.argv = [program, *words]
    runpy.run_path(os.path.join(os.path.dirname(sys.executable), program), run_name="__main__")
    sys.exit(0)


def _status(pid: int) -> int:
    """That of a process of ours, as shells have it."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    if sys.argv[2] == "-":
        sys.exit(ask(sys.argv[1], sys.argv[3:]))
    answer(sys.argv[1], sys.argv[2:])
