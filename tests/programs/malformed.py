"""Requests that no HTTP client should send, by what is wrong with them. Imports nothing."""

from __future__ import annotations

from typing import NamedTuple

GOOD = b"GET /hello.txt HTTP/1.1\r\nHost: a\r\n\r\n"
SMUGGLED = b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nX-Smuggled: yes\r\n\r\n"
"""What nobody has asked for, if it is part of a body."""


class Case(NamedTuple):
    """What is sent, and the statuses that may answer it."""

    name: str
    data: bytes
    statuses: tuple[int, ...]


def line(text: bytes) -> bytes:
    """A request with this line."""
    return text + b"\r\nHost: a\r\n\r\n"


def fields(*lines: bytes, version: bytes = b"1.1", body: bytes = b"") -> bytes:
    """A request with these fields, after that of the host."""
    head = b"GET /hello.txt HTTP/%b\r\nHost: a\r\n" % version
    return head + b"".join(field + b"\r\n" for field in lines) + b"\r\n" + body


def cases(statuses: tuple[int, ...], **streams: bytes) -> list[Case]:
    return [Case(name, data, statuses) for name, data in streams.items()]


CHUNKED = b"Transfer-Encoding: chunked"

NO_REQUEST_LINE = cases(
    (400,),
    no_version=b"GET /hello.txt\r\n\r\n",
    no_version_but_host=line(b"GET /hello.txt"),
    no_version_but_space=line(b"GET /hello.txt "),
    no_target=line(b"GET HTTP/1.1"),
    no_target_but_spaces=line(b"GET  HTTP/1.1"),
    no_method=line(b"/hello.txt HTTP/1.1"),
    no_method_but_space=line(b" /hello.txt HTTP/1.1"),
    method_alone=line(b"GET"),
    two_spaces_first=line(b"GET  /hello.txt HTTP/1.1"),
    two_spaces_last=line(b"GET /hello.txt  HTTP/1.1"),
    space_before=line(b" GET /hello.txt HTTP/1.1"),
    space_after=line(b"GET /hello.txt HTTP/1.1 "),
    tab_after=line(b"GET /hello.txt HTTP/1.1\t"),
    tab_first=line(b"GET\t/hello.txt HTTP/1.1"),
    tab_last=line(b"GET /hello.txt\tHTTP/1.1"),
    form_feed=line(b"GET /hello.txt\x0cHTTP/1.1"),
    vertical_tab=line(b"GET\x0b/hello.txt HTTP/1.1"),
    no_break_space=line(b"GET\xa0/hello.txt HTTP/1.1"),
    space_in_target=line(b"GET /hello .txt HTTP/1.1"),
    word_after=line(b"GET /hello.txt HTTP/1.1 x"),
    version_twice=line(b"GET /hello.txt HTTP/1.1 HTTP/1.1"),
    colon_in_method=line(b"GET: /hello.txt HTTP/1.1"),
    bracket_in_method=line(b"GE(T) /hello.txt HTTP/1.1"),
    quoted_method=line(b'"GET" /hello.txt HTTP/1.1'),
    method_beyond_ascii=line(b"G\xc3\x89T /hello.txt HTTP/1.1"),
    nul_in_method=line(b"GE\0T /hello.txt HTTP/1.1"),
    nul_before=b"\0" + GOOD,
    nul_in_target=line(b"GET /hello.txt\0 HTTP/1.1"),
    nul_in_version=line(b"GET /hello.txt HTTP/1.1\0"),
    control_in_target=line(b"GET /hello.txt\x01 HTTP/1.1"),
    escape_in_target=line(b"GET /\x1b[31m HTTP/1.1"),
    delete_in_target=line(b"GET /hello.txt\x7f HTTP/1.1"),
    byte_order_mark=b"\xef\xbb\xbf" + GOOD,
    two_empty_lines_before=b"\r\n\r\n" + GOOD,
    field_first=b"Host: a\r\nGET /hello.txt HTTP/1.1\r\n\r\n",
    answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    line_folded=b"GET /hello.txt\r\n HTTP/1.1\r\nHost: a\r\n\r\n",
)

VERSIONS = [
    *cases(
        (505,),
        version_0_9=line(b"GET /hello.txt HTTP/0.9"),
        version_0_0=line(b"GET /hello.txt HTTP/0.0"),
        version_1_2=line(b"GET /hello.txt HTTP/1.2"),
        version_1_9=line(b"GET /hello.txt HTTP/1.9"),
        version_2_0=line(b"GET /hello.txt HTTP/2.0"),
        version_3_0=line(b"GET /hello.txt HTTP/3.0"),
        version_9_9=line(b"GET /hello.txt HTTP/9.9"),
        preface_of_http_2=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    ),
    *cases(
        (400,),
        version_lower_case=line(b"GET /hello.txt http/1.1"),
        version_mixed_case=line(b"GET /hello.txt Http/1.1"),
        version_2=line(b"GET /hello.txt HTTP/2"),
        version_none=line(b"GET /hello.txt HTTP/"),
        version_no_minor=line(b"GET /hello.txt HTTP/1."),
        version_no_major=line(b"GET /hello.txt HTTP/.1"),
        version_no_dot=line(b"GET /hello.txt HTTP/11"),
        version_comma=line(b"GET /hello.txt HTTP/1,1"),
        version_signed=line(b"GET /hello.txt HTTP/+1.1"),
        version_two_digits=line(b"GET /hello.txt HTTP/1.10"),
        version_leading_zero=line(b"GET /hello.txt HTTP/01.1"),
        version_huge=line(b"GET /hello.txt HTTP/1.18446744073709551617"),
        version_letter=line(b"GET /hello.txt HTTP/1.1x"),
        version_three_parts=line(b"GET /hello.txt HTTP/1.1.1"),
        version_spaces=line(b"GET /hello.txt HTTP / 1.1"),
        version_superscript=line(b"GET /hello.txt HTTP/1.\xb9"),
        version_of_another=line(b"GET /hello.txt RTSP/1.0"),
        version_of_shoutcast=line(b"GET /hello.txt ICY/1.1"),
        version_misspelt=line(b"GET /hello.txt HTPP/1.1"),
    ),
]

METHODS = [
    *cases(
        (405,),
        post=line(b"POST /hello.txt HTTP/1.1"),
        post_with_body=b"POST /hello.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        post_chunked=b"POST /hello.txt HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n0\r\n\r\n" % CHUNKED,
        put=line(b"PUT /hello.txt HTTP/1.1"),
        delete=line(b"DELETE /hello.txt HTTP/1.1"),
        trace=line(b"TRACE /hello.txt HTTP/1.1"),
        connect=line(b"CONNECT a.example:443 HTTP/1.1"),
        connect_to_a_path=line(b"CONNECT /hello.txt HTTP/1.1"),
    ),
    *cases(
        (501,),
        lower_case=line(b"get /hello.txt HTTP/1.1"),
        mixed_case=line(b"Get /hello.txt HTTP/1.1"),
        propfind=line(b"PROPFIND /hello.txt HTTP/1.1"),
        unknown=line(b"BREW /pot HTTP/1.1"),
        longer=line(b"GETS /hello.txt HTTP/1.1"),
        odd=line(b"!#$%&'*+-.^_`|~ /hello.txt HTTP/1.1"),
    ),
    *cases((400, 501), long_method=line(b"A" * 5000 + b" /hello.txt HTTP/1.1")),
]

TARGETS = cases(
    (400,),
    no_slash=line(b"GET hello.txt HTTP/1.1"),
    no_slash_but_dots=line(b"GET ../outside/secret HTTP/1.1"),
    asterisk=line(b"GET * HTTP/1.1"),
    authority=line(b"GET a.example:443 HTTP/1.1"),
    query_alone=line(b"GET ?a HTTP/1.1"),
    fragment=line(b"GET /hello.txt#a HTTP/1.1"),
    backslash=line(b"GET \\hello.txt HTTP/1.1"),
    of_another_scheme=line(b"GET ftp://a/hello.txt HTTP/1.1"),
    of_a_file=line(b"GET file:///etc/passwd HTTP/1.1"),
    without_a_host=line(b"GET http:///hello.txt HTTP/1.1"),
    with_one_slash=line(b"GET http:/hello.txt HTTP/1.1"),
    of_another_host=line(b"GET http://b/hello.txt HTTP/1.1"),
    of_another_port=line(b"GET http://a:81/hello.txt HTTP/1.1"),
    with_a_user=line(b"GET http://u@a/hello.txt HTTP/1.1"),
    with_no_host_field=b"GET http://a/hello.txt HTTP/1.1\r\n\r\n",
)

HOSTS = cases(
    (400,),
    no_host=b"GET /hello.txt HTTP/1.1\r\n\r\n",
    no_host_but_fields=b"GET /hello.txt HTTP/1.1\r\nAccept: */*\r\n\r\n",
    two_hosts=fields(b"Host: a"),
    two_hosts_that_differ=fields(b"host: b"),
    two_hosts_apart=fields(b"Accept: */*", b"HOST: b"),
    host_list=b"GET /hello.txt HTTP/1.1\r\nHost: a, b\r\n\r\n",
    host_space=b"GET /hello.txt HTTP/1.1\r\nHost: a b\r\n\r\n",
    host_path=b"GET /hello.txt HTTP/1.1\r\nHost: a/b\r\n\r\n",
    host_user=b"GET /hello.txt HTTP/1.1\r\nHost: u@a\r\n\r\n",
    host_url=b"GET /hello.txt HTTP/1.1\r\nHost: http://a\r\n\r\n",
    host_markup=b"GET /hello.txt HTTP/1.1\r\nHost: <b>\r\n\r\n",
    host_command=b"GET /hello.txt HTTP/1.1\r\nHost: $(id)\r\n\r\n",
    host_port_of_letters=b"GET /hello.txt HTTP/1.1\r\nHost: a:b\r\n\r\n",
    host_port_too_high=b"GET /hello.txt HTTP/1.1\r\nHost: a:65536\r\n\r\n",
    host_unclosed=b"GET /hello.txt HTTP/1.1\r\nHost: [::1\r\n\r\n",
    host_beyond_ascii=b"GET /hello.txt HTTP/1.1\r\nHost: \xe4\xb8\x8b\r\n\r\n",
    host_folded=b"GET /hello.txt HTTP/1.1\r\nHost:\r\n a\r\n\r\n",
    host_of_1_0_twice=b"GET /hello.txt HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
)

FIELDS = cases(
    (400,),
    space_before_colon=fields(b"A : b"),
    tab_before_colon=fields(b"A\t: b"),
    space_before_colon_of_length=fields(b"Content-Length : 5", body=b"hello"),
    space_before_colon_of_coding=fields(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    space_in_name=fields(b"A b: c"),
    no_colon=fields(b"A"),
    no_colon_but_value=fields(b"A b"),
    no_name=fields(b": b"),
    no_name_nor_value=fields(b":"),
    name_beyond_ascii=fields(b"\xc3\x84: b"),
    name_with_nul=fields(b"A\0B: c"),
    name_with_control=fields(b"A\x01: b"),
    name_with_bracket=fields(b"A(b): c"),
    name_with_quote=fields(b'"A": b'),
    name_with_at=fields(b"A@b: c"),
    name_with_vertical_tab_before_coding=fields(b"\x0bTransfer-Encoding: chunked"),
    value_with_nul=fields(b"A: b\0c"),
    value_with_control=fields(b"A: b\x01c"),
    value_with_escape=fields(b"A: \x1b[31m"),
    value_with_delete=fields(b"A: b\x7f"),
    value_with_vertical_tab=fields(b"A: \x0bb"),
    folded=fields(b"A: b", b" c"),
    folded_with_tab=fields(b"A: b", b"\tc"),
    folded_first=b"GET /hello.txt HTTP/1.1\r\n Host: a\r\n\r\n",
    folded_length=fields(b"Content-Length:", b" 5", body=b"hello"),
    folded_coding=fields(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"),
    folded_with_nothing=fields(b"A: b", b" "),
    two_ranges=fields(b"Range: bytes=0-1", b"Range: bytes=2-3"),
    two_dates=fields(b"If-Modified-Since: x", b"If-Modified-Since: x"),
)

LINE_ENDS = cases(
    (400,),
    lf_alone=GOOD.replace(b"\r\n", b"\n"),
    lf_after_line=b"GET /hello.txt HTTP/1.1\nHost: a\r\n\r\n",
    lf_after_field=b"GET /hello.txt HTTP/1.1\r\nHost: a\n\r\n",
    lf_in_the_end=b"GET /hello.txt HTTP/1.1\r\nHost: a\r\n\n",
    lf_twice_in_field=fields(b"A: b\n\nGET /hello.txt HTTP/1.1"),
    lf_in_field=fields(b"A: b\nContent-Length: 5", body=b"hello"),
    lf_before=b"\n" + GOOD,
    cr_alone=GOOD.replace(b"\r\n", b"\r"),
    cr_after_line=b"GET /hello.txt HTTP/1.1\rHost: a\r\n\r\n",
    cr_in_field=fields(b"A: b\rTransfer-Encoding: chunked"),
    cr_in_the_end=b"GET /hello.txt HTTP/1.1\r\nHost: a\r\n\r\r\n",
    cr_twice=fields(b"A: b\r"),
    cr_before=b"\r" + GOOD,
    cr_before_colon=fields(b"A\r: b"),
    cr_in_target=line(b"GET /hello\r.txt HTTP/1.1"),
    lf_cr=fields(b"A: b\n\rB: c"),
    separators_of_unicode=line("GET /hello.txt HTTP/1.1\u2028Host: a".encode()),
)

LENGTHS = [
    Case(f"length {value!r}", fields(b"Content-Length: " + value, body=SMUGGLED), (400,))
    for value in (
        *(b"", b"-1", b"-0", b"+5", b"5 5", b"5, 5", b"5,5", b"5;a", b"5,", b"0x5", b"5e1", b"5.0"),
        *(b"1_0", b"five", b"\xb2", b"\xd9\xa5", b'"5"', b"5\x0b", b"5\0", b"0" * 20, b"9" * 30),
        *(b"18446744073709551616", b"18446744073709551621", b"5 GET /", b"NaN", b"inf", b"%35"),
    )
]
LENGTHS += cases(
    (400,),
    lengths_that_differ=fields(b"Content-Length: 0", b"Content-Length: 5", body=SMUGGLED),
    lengths_alike=fields(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    lengths_apart=fields(b"Content-Length: 5", b"A: b", b"content-length: 6", body=SMUGGLED),
    lengths_of_1_0=fields(
        b"Content-Length: 0", b"Content-Length: 5", version=b"1.0", body=SMUGGLED
    ),
)
LENGTHS += cases(
    (413,),
    length_of_a_million=fields(b"Content-Length: 1000000"),
    length_near_the_most=fields(b"Content-Length: 9223372036854775807"),
)

CODINGS = [
    *[
        Case(f"coding {value!r}", fields(b"Transfer-Encoding: " + value, body=SMUGGLED), (400, 501))
        for value in (
            *(b"", b"identity", b"xchunked", b"chunkedx", b"chunk", b"gzip", b"chunked, identity"),
            *(b"chunked;a=b", b'"chunked"', b"\x0bchunked", b"chunked\0", b"chun ked", b"chunked,"),
            *(b", chunked", b"chunked, chunked", b"chunked, gzip", b"gzip, chunked", b"[chunked]"),
        )
    ],
    *cases(
        (400,),
        length_and_coding=fields(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
        coding_and_length=fields(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n" + SMUGGLED),
        length_and_unknown=fields(b"Content-Length: 0", b"Transfer-Encoding: x", body=SMUGGLED),
        length_of_nothing=fields(b"Content-Length: 0", CHUNKED, body=b"0\r\n\r\n"),
        coding_twice=fields(CHUNKED, CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
        coding_hidden=fields(CHUNKED, b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
        coding_hidden_first=fields(b"Transfer-Encoding: x", CHUNKED, body=b"0\r\n\r\n"),
        coding_of_1_0=fields(CHUNKED, version=b"1.0", body=b"0\r\n\r\n" + SMUGGLED),
        coding_of_1_0_kept=fields(
            CHUNKED, b"Connection: keep-alive", version=b"1.0", body=b"0\r\n\r\n" + SMUGGLED
        ),
    ),
]

CHUNKS = [
    Case(f"chunks {body[:24]!r}", fields(CHUNKED, body=body + SMUGGLED), (413,))
    for body in (
        *(b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n"),
        *(b"", b"\r\n", b"x\r\n", b"-1\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n"),
        *(b"5 \r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n", b"5\nhello\n0\n\n", b"5\rhello\r0\r\r"),
        *(b"5\r\nhelloX\r\n0\r\n\r\n", b"5\r\nhel\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\n"),
        *(b"f" * 16 + b"\r\n", b"1" + b"0" * 16 + b"\r\n", b"0" * 1000 + b"5\r\nhello\r\n"),
        *(b"5;" + b"a" * 1000 + b"\r\nhello\r\n", b"5;\n\r\nhello\r\n", b"5;a\r\r\nhello\r\n"),
        *(b"0\r\nA : b\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\n\n", b"0\n\r\n"),
        *(b"_5\r\nhello\r\n", b"5_\r\nhello\r\n", b"\xef\xbc\x95\r\nhello\r\n", b"\0\r\n"),
    )
]

SIZES = [
    *cases(
        (414,),
        long_target=line(b"GET /" + b"a" * 9000 + b" HTTP/1.1"),
        long_query=line(b"GET /hello.txt?" + b"a" * 9000 + b" HTTP/1.1"),
        longer_target=line(b"GET /" + b"a" * 200_000 + b" HTTP/1.1"),
        endless_target=b"GET /" + b"a" * 100_000,
    ),
    *cases(
        (431,),
        long_value=fields(b"A: " + b"b" * 20_000),
        long_name=fields(b"A" * 20_000 + b": b"),
        many_fields=fields(*[b"A: b"] * 101),
        more_fields=fields(*[b"A: b"] * 5000),
        many_names=fields(*[b"A%d: b" % number for number in range(200)]),
        endless_field=b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 100_000,
        endless_fields=b"GET /hello.txt HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 10_000,
    ),
]

EXPECTATIONS = cases(
    (417,),
    unknown_expectation=fields(b"Expect: 200-ok"),
    two_expectations=fields(b"Expect: 100-continue, x"),
)

OTHERS = cases(
    (400,),
    tls_client_hello=bytes.fromhex("160301002f0100002b0303")
    + bytes(range(32))
    + b"\0\0\2\x13\1\1\0",
    tls_of_old=bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0"),
    ssh=b"SSH-2.0-OpenSSH_9.2\r\n",
    smtp=b"EHLO a.example\r\n",
    sip=b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm\r\n\r\n",
    rtsp=b"OPTIONS / RTSP/1.0\r\n\r\n",
    ftp=b"USER anonymous\r\n",
    proxy_protocol=b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + GOOD,
    redis=b"*1\r\n$4\r\nPING\r\n",
    smb=b"\xffSMBr\0\0\0\0\x08\x01\x40\r\n",
    remote_desktop=b"\3\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\3\0\0\0\r\n",
    noise=bytes(range(1, 256)) + b"\r\n\r\n",
    xml=b"<?xml version='1.0'?><policy-file-request/>\0",
)
"""What speaks another protocol; as the first bytes of a connection, it may be a name."""

ALL = [
    *(*NO_REQUEST_LINE, *VERSIONS, *METHODS, *TARGETS, *HOSTS, *FIELDS, *LINE_ENDS),
    *(*LENGTHS, *CODINGS, *CHUNKS, *SIZES, *EXPECTATIONS, *OTHERS),
]

BROKEN_OFF = [GOOD[:length] for length in range(1, len(GOOD), 3)] + [
    *(b"GET / HTTP/1.1\r\nHost: a\r\nA: b", b"G", b"H", b"OPTIONS", b"\r\n", b"\r"),
    *(b"GET /hello.txt HTTP/1.1\r\nHost: a\r\n\r", b"POST", b"GET /hello.txt HTTP/1."),
]
"""Requests whose client leaves before their end."""
