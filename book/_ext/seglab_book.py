"""What the book needs from Sphinx beyond what Jupyter Book's configuration can say.

- With the environment variable SEGLAB_REPO set to the repository's URL, every page has
  edit and issue buttons, and every notebook has launch buttons for Binder and Colab.
  Without it a page names no host at all.
- Bibliography entries are labeled by author and year.
- Exercises are numbered page by page.
"""

import os
import re
from typing import Any

import pybtex.plugin
from pybtex.style.formatting.unsrt import Style as UnsrtStyle
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import ConfigError

REPO_URL = re.compile(r"https://(?P<host>[\w.-]+)/(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)")
BODY_FIXES = [
    (
        r'(<span class="caption-number">Exercise \d+) </span> \((.*)\)</p>',
        r"\1</span>: \2</p>",
    ),
    (
        r"Solution to(<a [^>]*>) (Exercise \d+) \(.*\)</a></p>",
        r"Solution to \1\2</a></p>",
    ),
    (r'<section id="(?:exercise|solution)-content">', "<section>"),
    (r' role="doc-biblioentry"', ' role="listitem"'),
]
COLAB_BRANCH = "colab"  # written by colab.py: there the setup cell installs from git


def repository_url(url: str) -> str:
    """Check a repository's URL and return it without a slash or .git at its end."""
    url = url.strip().rstrip("/").removesuffix(".git")
    if not REPO_URL.fullmatch(url):
        raise ConfigError(
            f"SEGLAB_REPO is {url!r}; expected https://HOST/OWNER/NAME, "
            "for example https://github.com/OWNER/NAME"
        )
    return url


def add_repository(app: Sphinx, config: Config) -> None:
    """Turn the edit, issue and launch buttons on if the repository is known."""
    if not os.environ.get("SEGLAB_REPO", "").strip():
        return
    url = repository_url(os.environ["SEGLAB_REPO"])
    launch = {
        "notebook_interface": "jupyterlab",
        "binderhub_url": "https://mybinder.org",
    }
    if url.startswith("https://github.com/"):  # Colab opens notebooks from GitHub only
        launch["colab_url"] = "https://colab.research.google.com"
    config.html_theme_options |= {
        "repository_url": url,
        "use_repository_button": True,
        "use_edit_page_button": True,
        "use_issues_button": True,
        "launch_buttons": launch,
    }


def point_colab_at_its_branch(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Colab installs seglab from git, so it opens the branch whose notebooks say so."""
    branch = app.config.html_theme_options.get("repository_branch", "main")
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button["text"] == "Colab":
                button["url"] = button["url"].replace(
                    f"/blob/{branch}/", f"/blob/{COLAB_BRANCH}/", 1
                )


def number_exercises_by_page(app: Sphinx, env: BuildEnvironment) -> None:
    """Count exercises from 1 on each page, so that a new page renumbers no other."""
    for numbers in env.toc_fignumbers.values():
        exercises = numbers.get("exercise", {})
        in_order = sorted(exercises, key=exercises.__getitem__)
        exercises.update({label: (i,) for i, label in enumerate(in_order, start=1)})


def tidy_body(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Mend what extensions write and no option changes.

    Exercise titles come with nested parentheses, the sections in exercises all with the
    same id, and entries of the bibliography with a role that a list may not hold.
    """
    if "body" not in context:
        return
    for pattern, replacement in BODY_FIXES:
        context["body"] = re.sub(pattern, replacement, context["body"])


class AuthorYearLabels(BaseLabelStyle):  # type: ignore[misc]
    """Label an entry as the text cites it: "Long et al. 2015".

    A letter behind the year in its key tells it from another of the same people and
    year, so that `lecun1998b` is "LeCun et al. 1998b".
    """

    def format_labels(self, entries: Any) -> Any:
        for entry in entries:
            people = entry.persons.get("author") or entry.persons.get("editor", [])
            names = [" ".join([*p.prelast_names, *p.last_names]) for p in people]
            names = [name.replace("{", "").replace("}", "") for name in names]
            if len(names) > 2:
                who = f"{names[0]} et al."
            else:
                who = " and ".join(names) or entry.key
            letter = re.search(r"\d([a-z]?)$", entry.key)
            year = entry.fields.get("year", "") + (letter[1] if letter else "")
            yield f"{who} {year}".strip()


class SeglabStyle(UnsrtStyle):  # type: ignore[misc]
    """Plain entries, sorted by author, with author-year labels."""

    default_label_style = AuthorYearLabels
    default_sorting_style = "author_year_title"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the book's extension with Sphinx."""
    pybtex.plugin.register_plugin("pybtex.style.formatting", "seglab", SeglabStyle)
    # Jupyter Book sets this value for an extension that the configuration leaves out.
    app.add_config_value("comments_config", {}, "")
    app.connect("config-inited", add_repository)
    app.connect("env-check-consistency", number_exercises_by_page)
    app.connect("html-page-context", tidy_body)
    # After the theme has made the buttons, at priority 501.
    app.connect("html-page-context", point_colab_at_its_branch, priority=502)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
