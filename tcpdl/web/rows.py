"""The rows of a folder's page, as HTML. Pure; imports the modules beside it.

A folder of ten thousand files is no rarity, and a template engine spends longer on each than
all else together. So the rows are put together here, and whatever stands in them is either escaped
(`names`), or made of characters that mean nothing to HTML (`hrefs_of`, sizes, times).
"""

from __future__ import annotations

from markupsafe import Markup, escape

from tcpdl.web.listing import Item, hrefs_of, utc
from tcpdl.web.urls import PageLink, fields_of, with_link
from tcpdl.wire.text import printable

BLOCK = 100
"""Rows of one tbody: a browser lays out only those that are in sight."""

_ICONS = {
    "i": "apng avif bmp gif heic ico jpeg jpg jxl png psd svg tif tiff webp",
    "v": "avi flv m4v mkv mov mp4 mpeg mpg ogv ts webm wmv",
    "m": "aac aif aiff flac m4a mid midi mp3 oga ogg opus wav wma",
    "z": "7z apk br bz2 cab deb dmg gz img iso jar lz lz4 lzma pyz rar rpm tar tgz whl xz zip zst",
    "c": "asm bash bat c cc cfg conf cpp cs css go h hpp htm html ini java jl js json jsx kt lua m "
    "mjs php pl ps1 py pyi r rb rs scala sh sql swift tex toml tsx vim xml yaml yml zig zsh",
    "t": "doc docx epub log md mobi odt org pdf rst rtf txt",
    "n": "arrow avro csv db feather h5 hdf5 nc npy npz ods parquet sqlite sqlite3 tsv xls xlsx",
}
_ICON_OF = {f".{ext}".encode(): icon for icon, exts in _ICONS.items() for ext in exts.split()}
_KIND_OF = {"link": "broken link", "left-out": "left out"}
_ROW_OF = {extension: f"<tr class={icon}>" for extension, icon in _ICON_OF.items()}


def icon_of(name: bytes) -> str:
    """The letter of the icon for a file of this name; nothing for a plain one."""
    return _ICON_OF.get(name[name.rfind(b".") :].lower(), "")


def human(size: int) -> str:
    """`size` in bytes, with three figures and a binary prefix: `12.3 MiB`."""
    if size < 1024:
        return f"{size} B"
    number = size / 1024
    for prefix in ("Ki", "Mi", "Gi", "Ti", "Pi"):
        if number < 999.5:
            return f"{number:.3g} {prefix}B"
        number /= 1024
    return f"{number:.3g} EiB"


def time_tag(seconds: int) -> str:
    """A time as HTML, to the minute for people, and to the second for programs."""
    exact = utc(seconds)
    return f"<time datetime={exact}>{exact[:10]} {exact[11:16]}</time>"


def _size_cell(size: int) -> str:
    if size < 1024:
        return f"<td>{size} B"
    return f'<td title="{size:,} bytes">{human(size)}'


def names_of(items: list[Item]) -> list[str]:
    """How the names are shown, escaped."""
    text = b"/".join([item.name for item in items]).decode("utf-8", "surrogateescape")
    if not text.isprintable() or "\\" in text:
        text = "/".join(
            [
                name if name.isprintable() and "\\" not in name else printable(name)
                for name in text.split("/")
            ]
        )
    return str(escape(text)).split("/")


def rows_of(items: list[Item], link: PageLink | None = None) -> Markup:
    """The rows of `items`, in blocks of `BLOCK`, with a `link` that the page was asked for with."""
    query = str(escape(with_link("", link)))
    hidden = "".join(
        f'<input type=hidden name={name} value="{value}">' for name, value in fields_of(link)
    )
    sizes = {size: _size_cell(size) for size in {item.size for item in items}}
    stamps = {item.mtime_ns // 10**9 for item in items}
    times = {seconds: time_tag(seconds) for seconds in stamps}
    rows = []
    for (name, kind, size, mtime_ns, why), text, href in zip(
        items, names_of(items), hrefs_of(items), strict=False
    ):
        if kind == "file":
            row = (
                f"{_ROW_OF.get(name[name.rfind(b'.') :].lower(), '<tr>')}"
                f'<th><a href="{href}{query}">{text}</a>{sizes[size]}<td>{times[mtime_ns // 10**9]}'
                f'<td><form action="{href}">{hidden}<button name=info>Info</button></form>\n'
            )
        elif kind == "folder":
            time = times[mtime_ns // 10**9]
            row = f'<tr class=d><th><a href="{href}{query}">{text}</a><td>folder<td>{time}<td>\n'
        else:
            name_cell = f"<th><bdi>{text}</bdi> <small>{escape(why)}</small>"
            row = f"<tr class=x>{name_cell}<td>{_KIND_OF[kind]}<td><td>\n"
        rows.append(row)
    blocks = ["".join(rows[at : at + BLOCK]) for at in range(0, len(rows), BLOCK)]
    return Markup("".join([f"<tbody>\n{block}" for block in blocks]))  # noqa: S704
