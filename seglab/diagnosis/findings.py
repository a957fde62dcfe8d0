"""What was found, ranked and rendered: `Finding` and `Diagnosis`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Group
from rich.text import Text

from seglab.report import as_text

Severity = Literal["error", "warning", "note"]

_RANK: dict[str, int] = {"error": 0, "warning": 1, "note": 2}
_STYLE = {"error": "bold red", "warning": "bold yellow", "note": "bold"}


@dataclass(frozen=True)
class Finding:
    """One trouble: what was seen, where, and what to do.

    Parameters
    ----------
    severity : {"error", "warning", "note"}
        *error*: training or its measurement is wrong until this is mended. *warning*:
        probably so. *note*: known to make things harder.
    check : str
        The check that found it, such as ``"labels"``.
    seen : str
        What was seen, with its numbers and where.
    fix : str
        What to do about it.
    """

    severity: Severity
    check: str
    seen: str
    fix: str


@dataclass(frozen=True)
class Diagnosis:
    """All findings, the worst first; prints as text, and as a list in a notebook.

    Parameters
    ----------
    findings : tuple of Finding
    checked : tuple of str
        The checks that ran, with or without a finding.

    Examples
    --------
    >>> found = Finding("warning", "balance", "class 2 has 0.1 %", "weight it")
    >>> Diagnosis.of([found], ("labels", "balance")).worst
    'warning'
    >>> print(Diagnosis.of([], ("labels",)))
    Nothing found by 1 check: labels.
    """

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]

    @classmethod
    def of(cls, findings: Iterable[Finding], checked: Iterable[str]) -> Diagnosis:
        """Rank findings: by severity, then in the order in which they were found."""
        ranked = sorted(findings, key=lambda finding: _RANK[finding.severity])
        return cls(tuple(ranked), tuple(checked))

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    @property
    def worst(self) -> Severity | None:
        """The highest severity, None without findings."""
        return self.findings[0].severity if self.findings else None

    def of_check(self, check: str) -> tuple[Finding, ...]:
        """Give the findings of one check.

        Raises
        ------
        ValueError
            When no check of that name ran.
        """
        if check not in self.checked:
            raise ValueError(
                f"check is {check!r}; the checks that ran are "
                f"{', '.join(self.checked)}."
            )
        return tuple(finding for finding in self.findings if finding.check == check)

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as plain values, for JSON."""
        return {
            "checked": list(self.checked),
            "findings": [asdict(finding) for finding in self.findings],
        }

    def _ran(self) -> str:
        count = len(self.checked)
        return f"{count} check{'' if count == 1 else 's'}: {', '.join(self.checked)}."

    def __rich__(self) -> Group:
        if not self.findings:
            return Group(Text(f"Nothing found by {self._ran()}"))
        lines = []
        for number, finding in enumerate(self.findings, start=1):
            head = Text(f"{number}. ")
            head.append(finding.severity, style=_STYLE[finding.severity])
            head.append(f" ({finding.check}): {finding.seen}")
            lines += [head, Text(f"   Fix: {finding.fix}")]
        return Group(*lines, Text(f"From {self._ran()}"))

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        if not self.findings:
            return f"<p>Nothing found by {html.escape(self._ran())}</p>"
        items = "".join(
            f"<li><strong>{f.severity}</strong> ({html.escape(f.check)}): "
            f"{html.escape(f.seen)}<br>Fix: {html.escape(f.fix)}</li>"
            for f in self.findings
        )
        return f"<ol>{items}</ol><p>From {html.escape(self._ran())}</p>"
