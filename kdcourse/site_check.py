"""What a built site must be: whole, so that every link inside it leads somewhere, and free of anything loaded from elsewhere."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "embed": "src", "object": "data", "link": "href"}
NO_LOAD = {"canonical", "next", "prev", "index", "search", "author", "copyright", "license", "help"}


class _Page(HTMLParser):
    """Collects a page's ids, the links it offers, the files it loads, and images without a description."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.loads, self.undescribed = set(), [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids |= {value for name, value in attributes if name == "id" or (name == "name" and tag == "a")}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        target = values.get(LOADS.get(tag, ""))
        if target and not (tag == "link" and NO_LOAD & set((values.get("rel") or "").split())):
            self.loads.append(target)
        if tag == "img" and values.get("alt") is None:
            self.undescribed.append(values.get("src"))


def read_page(path) -> _Page:
    """A page's ids, links, loads and images without alternative text."""
    page = _Page()
    page.feed(Path(path).read_text(encoding="utf-8"))
    return page


def problems(folder) -> list[str]:
    """Every link of the site's pages that leads nowhere in it, every load from outside, every image without a description."""
    folder = Path(folder).resolve()
    pages = {path: read_page(path) for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts}
    found = []
    for path, page in pages.items():
        where = path.relative_to(folder)
        found += [f"{where}: an image has no alt: {source}" for source in page.undescribed]
        found += [f"{where}: loads {target} from outside" for target in page.loads if _is_outside(target)]
        for target in [*page.links, *page.loads]:
            if not _is_outside(target) and not _leads_somewhere(target, path, pages):
                found.append(f"{where}: {target} leads nowhere")
    return found


def _is_outside(target: str) -> bool:
    parts = urlsplit(target)
    return bool(parts.netloc) or parts.scheme not in ("", "data", "mailto", "javascript")


def _leads_somewhere(target: str, path: Path, pages: dict) -> bool:
    parts = urlsplit(target)
    if parts.scheme:
        return True
    file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if parts.fragment and file in pages:
        return unquote(parts.fragment) in pages[file].ids or parts.fragment == "top"
    return file.exists()
