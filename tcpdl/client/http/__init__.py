"""HTTP/1.1, as the client speaks it (RFC 9110, 9112): GET, ranges, redirects, digests.

`response` and `representation` are pure; `connection` speaks, `asking` follows redirects, `origin`
knows how a file may be asked for; `download` and `stream` fetch it. `http.client` takes longer to
import than most files to fetch, and it lets pass what must not be: a length that is none, say, or a
body that has two.
"""
