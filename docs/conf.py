"""How sphinx makes the site. `kdcourse site` writes the pages into a folder of their own and calls sphinx with this file."""

import os
from pathlib import Path

from kdcourse import __version__

project = "kdcourse"
author = "The kdcourse developers"
copyright = "The kdcourse developers, MIT licence"
release = __version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "kdcourse.site_sphinx"]
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!kdcourse\.).*")]  # types of other packages: their documentation is not at hand offline
kdcourse_glossary = os.environ.get("KDCOURSE_GLOSSARY") or str(Path(__file__).with_name("glossary.toml"))

# Notebooks are shown as they are stored; nothing is executed, and nothing is fetched for widgets.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_merge_streams = True
nb_render_markdown_format = "myst"  # the tables of kd.claims.announce
myst_enable_extensions = ["amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath", "html_image"]
myst_dmath_double_inline = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "sphinx_book_theme"
html_title = "kdcourse"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["kdcourse.css"]
html_js_files = [("kdcourse.js", {"defer": "defer"})]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_context = {"default_mode": "auto"}  # the theme complains in the console of one that is not set
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # one search field is enough, that of the sidebar
    "navigation_with_keys": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,  # each lesson has its own: the learner's notebook, not this site's copy of it
    "use_fullscreen_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

linkcheck_timeout = 20
linkcheck_ignore = [r"http://(localhost|127\.0\.0\.1)"]
linkcheck_anchors = False
