"""What HTTP answers a request with: finds out what it is about, and who answers.

Imports `web`, `content` and the modules beside it. PROTOCOL.md section 7 is the specification.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import tcpdl
from tcpdl.access.proof import Proof, of_authorization
from tcpdl.content.digests import Digests
from tcpdl.content.errors import IsFolder, NotServed
from tcpdl.content.source import File, Source
from tcpdl.digest import FileEnded
from tcpdl.server.admission import Admission, Visit
from tcpdl.server.busy import RETRY_SECONDS
from tcpdl.server.direct import encrypted
from tcpdl.server.hashing import Busy
from tcpdl.server.http_exchange import Exchange, Fields, Work, refusal_of
from tcpdl.server.http_files import HASHED_FIRST_MOST, FileAnswers
from tcpdl.server.http_folders import FolderAnswers, write_page
from tcpdl.server.peer import host_name
from tcpdl.server.working import Workers
from tcpdl.web import conditions, fields, page, zipapp
from tcpdl.web.hosts import Hosts
from tcpdl.web.request import METHODS, Refusal
from tcpdl.web.urls import PageLink, folder_path
from tcpdl.wire import links
from tcpdl.wire.names import Name, NameRefused

WELL_KNOWN = b"/.well-known/tcpdl/"

_BEARER = 'Bearer realm="files"'
_WRONG_TOKEN = f'{_BEARER}, error="invalid_token"'
"""What RFC 6750, section 3.1 has said to who has shown one."""

_FOR_GOOD = "public, max-age=31536000, immutable"


class Fixed(NamedTuple):
    """What is always there."""

    kind: str
    body: bytes
    etag: str


class HttpAnswers:
    """Answers the requests of all connections."""

    def __init__(
        self,
        source: Source,
        digests: Digests,
        workers: Workers,
        *,
        index: bool = False,
        precompressed: bool = False,
        admission: Admission | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        """With `index`, a folder's index.html is its page, and the files are a web site; with
        `precompressed`, files beside a file that end in .gz or .zst are sent to who takes them.
        `admission`, if there is one, says who may read what of the `source`; `hosts`, which names
        requests may be made for."""
        self._source = source
        self._digests = digests
        self._workers = workers
        self._fixed = _all_that_is_fixed()
        self._client_sha256 = hashlib.sha256(self._fixed["tcpdl.pyz"].body).hexdigest()
        self._folders = FolderAnswers(digests, workers, self._site)
        self.change(index=index, precompressed=precompressed, hosts=hosts)
        self.admit(admission)

    def change(self, *, index: bool, precompressed: bool, hosts: Hosts | None) -> None:
        """Answer further requests like this; see `__init__`."""
        self._index = index
        self._hosts = hosts
        files = FileAnswers(self._digests, self._workers, precompressed=precompressed, site=index)
        self._files = files

    def admit(self, admission: Admission | None) -> None:
        """Have `admission` say who may read what from now on."""
        self._admission = admission
        self._challenges = _challenges(admission)

    def answer(self, exchange: Exchange) -> Work | None:
        """Answer a request: at once, or by what is returned. Raises `Refusal` and `Gone`."""
        request = exchange.request
        if self._hosts is not None and request.host not in self._hosts:
            raise Refusal(421, "this server does not answer for that host", fatal=False)
        if request.method == "OPTIONS":
            exchange.write(204, [("Allow", ", ".join(METHODS))])
            return None
        if request.path.startswith(WELL_KNOWN):
            self._well_known(exchange, request.path[len(WELL_KNOWN) :].decode("latin-1"))
            return None
        if self._admission is not None:
            return self._admit(exchange, self._admission)
        exchange.source = self._source
        return self._answer(exchange)

    def _admit(self, exchange: Exchange, admission: Admission) -> Work | None:
        """Answer a request once it is known who makes it."""
        visit = admission.visit(exchange.transport)
        value = exchange.request.field(b"authorization")
        if value is not None:
            proof = of_authorization(value)
            if not visit.log_in(proof):
                assert proof is not None
                return self._after_login(exchange, visit, proof)
        return self._answer_visit(exchange, visit)

    async def _after_login(self, exchange: Exchange, visit: Visit, proof: Proof) -> None:
        connection = exchange.connection
        await exchange.until(visit.find_out(proof, lambda: not connection.gone))
        work = self._answer_visit(exchange, visit)
        if work is not None:
            await work

    def _answer_visit(self, exchange: Exchange, visit: Visit) -> Work | None:
        exchange.user = visit.user
        request = exchange.request
        try:
            exchange.source = visit.source()
            if visit.takes_links and b"signed=" in request.query:
                arguments = request.arguments()
                if "until" in arguments and "signed" in arguments:
                    name = request.name(hidden=self._source.hidden)
                    link = links.parse(arguments["until"], arguments["signed"])
                    exchange.source, depth = visit.by_link(name, link)
                    if link is not None and depth is not None:
                        exchange.link = PageLink(link.query, depth)
        except (NotServed, NameRefused) as problem:
            raise refusal_of(problem) from None
        return self._answer(exchange)

    def _answer(self, exchange: Exchange) -> Work | None:
        """Answer with what the request is about."""
        request = exchange.request
        try:
            name = request.name(hidden=self._source.hidden)
            if not request.query and self._files.answer_again(exchange, name):
                return None
            file = exchange.source.open_file(name)
        except IsFolder:
            return self._folder(exchange, name)
        except (NotServed, NameRefused) as problem:
            raise refusal_of(problem) from None
        if not request.query:
            return self._files.answer(exchange, name, file, save=False)
        try:
            arguments = exchange.arguments()
        except BaseException:
            file.close()
            raise
        if "info" in arguments:
            return self._info(exchange, name, file, arguments)
        return self._files.answer(exchange, name, file, save="download" in arguments)

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Say why a request is not answered."""
        asked: Fields = self._challenges if refusal.status == 401 else []
        if asked and (exchange.request.field(b"authorization") or "").lower().startswith("bearer"):
            asked = [(name, value.replace(_BEARER, _WRONG_TOKEN)) for name, value in asked]
        write_refusal(exchange, refusal, asked)

    def _folder(self, exchange: Exchange, name: Name) -> Work | None:
        request = exchange.request
        if not request.path.endswith(b"/"):
            query = f"?{request.query.decode('latin-1')}" if request.query else ""
            where = folder_path(name.segments) + query
            exchange.write(301, [("Location", where)])
            return None
        arguments = exchange.arguments()
        if self._index and not arguments:
            index = Name((*name.segments, b"index.html"))
            try:
                file = exchange.source.open_file(index)
            except NotServed:
                pass
            else:
                return self._files.answer(exchange, index, file, save=False)
        return self._folders.answer(exchange, name, arguments)

    async def _info(
        self, exchange: Exchange, name: Name, file: File, arguments: dict[str, str]
    ) -> None:
        """Answer with the page about a file, and its digest if that is quickly found out, or was
        asked for."""
        try:
            digest = self._files.known_digest(file)
            if digest is None and (file.size <= HASHED_FIRST_MOST or "digest" in arguments):
                found = await self._files.digest(exchange, file)
                digest = found if file.still_same() else None
        except Busy:
            raise Refusal(503, "too many files are being hashed", fatal=False) from None
        except FileEnded:
            raise Refusal(503, "the file became shorter while it was read", fatal=False) from None
        except OSError as problem:
            raise Refusal(503, f"it cannot be read: {problem.strerror}", fatal=False) from None
        finally:
            file.close()

        def make() -> bytes:
            return page.file_page(
                self._site(exchange), name.segments, file.size, file.mtime_ns, digest
            )

        write_page(exchange, await exchange.run(self._workers, make))

    def _well_known(self, exchange: Exchange, what: str) -> None:
        """Answer with what is always there."""
        found = self._fixed.get(what)
        if found is None:
            raise Refusal(404, "tcpdl has no such page", fatal=False)
        # The address of an asset changes with it: what its digest begins with is its query.
        # Should it be that of another version, this one is not to be kept under it.
        for_good = exchange.request.query == found.etag[1:13].encode("ascii")
        more = [
            ("Content-Type", found.kind),
            ("X-Content-Type-Options", "nosniff"),
            ("ETag", found.etag),
            ("Cache-Control", _FOR_GOOD if for_good else "no-cache"),
        ]
        status = conditions.evaluate(exchange.request.field, found.etag, None)
        exchange.write(status, more, found.body if status == conditions.OK else b"")

    def _site(self, exchange: Exchange) -> page.Site:
        """What a page says of this server."""
        host = exchange.request.host or host_name(exchange.transport.getHost())
        scheme = "https" if encrypted(exchange.transport) else "http"
        return page.Site(scheme, host, tcpdl.__version__, self._client_sha256, exchange.link)


def _challenges(admission: Admission | None) -> Fields:
    """How a client is asked to log in."""
    logins = admission.logins if admission is not None else None
    asked: Fields = []
    if logins is not None and logins.takes_passwords:
        asked.append(("WWW-Authenticate", 'Basic realm="files", charset="UTF-8"'))
    if logins is not None and logins.takes_tokens:
        asked.append(("WWW-Authenticate", _BEARER))
    return asked


def write_refusal(
    exchange: Exchange, refusal: Refusal, besides: Sequence[tuple[str, str]] = ()
) -> None:
    """Say why a request is not answered: as a page for people, else in a sentence. `besides` are
    fields of the answer."""
    sentence = exchange.why = str(refusal)
    vary = "Accept, Authorization" if refusal.status in (401, 403) else "Accept"
    more: Fields = [("Vary", vary), *besides]
    if refusal.status == 405:
        more.append(("Allow", ", ".join(METHODS)))
    if refusal.status == 503:
        more.append(("Retry-After", str(RETRY_SECONDS)))
    if "text/html" not in (exchange.request.field(b"accept") or ""):
        exchange.write_sentence(refusal.status, more, sentence)
        return
    more.append(("Content-Type", "text/html; charset=utf-8"))
    more.append(("Content-Security-Policy", page.CONTENT_SECURITY_POLICY))
    more.append(("X-Content-Type-Options", "nosniff"))
    body = page.problem_page(refusal.status, fields.REASONS[refusal.status], sentence)
    exchange.write(refusal.status, more, body)


@lru_cache(maxsize=1)
def _all_that_is_fixed() -> dict[str, Fixed]:
    """What is always there, by name. Made at once: later there may be no descriptor left for it."""
    text = "text/plain; charset=utf-8"
    version = f"tcpdl {tcpdl.__version__}\n".encode("ascii")
    bodies = {
        "health": (text, b"ok\n"),
        "version": (text, version),
        "tcpdl.pyz": ("application/octet-stream", zipapp.build()),
        **page.ASSETS,
    }
    return {
        name: Fixed(kind, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
        for name, (kind, body) in bodies.items()
    }
