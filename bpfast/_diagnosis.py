"""What `Network.diagnose` returns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

#: Width of the text.
_COLUMNS = 96


@dataclass(frozen=True, slots=True)
class Finding:
    """One trouble of a network, its data or its training.

    Attributes
    ----------
    name : str
        What it is, such as ``"dead relu"``; see `Network.diagnose`.
    layer : str
        The path of the layer where it is seen, ``"inputs"``, ``"targets"`` or ``"training"``.
    evidence : str
        What was measured.
    advice : str
        What usually helps.
    severity : {"error", "warning"}
        An error keeps the network, or that layer, from learning.
    """

    name: str
    layer: str
    evidence: str
    advice: str
    severity: Literal["error", "warning"] = "warning"

    def __str__(self) -> str:
        """Write name and place, then evidence and advice, indented."""
        place = self.layer if self.layer in ("inputs", "targets", "training") else None
        where = place or f"layer {self.layer}"
        notes = (_wrapped(text) for text in (self.evidence, self.advice))
        return "\n".join([f"{self.severity}: {self.name} ({where})", *notes])


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What `Network.diagnose` found; iterates over the findings, worst first.

    Attributes
    ----------
    findings : tuple of Finding
    rows : int
        That were looked at.
    steps : int
        Of the trial training; 0 where other findings made it pointless.
    """

    findings: tuple[Finding, ...]
    rows: int
    steps: int

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __bool__(self) -> bool:
        """Be true, whatever the number of findings."""
        return True

    def __str__(self) -> str:
        """Write all findings for a terminal."""
        seen = f"{self.rows:,} rows and {self.steps} trial steps"
        if self.healthy:
            return f"no trouble found in {seen}"
        count = f"{len(self)} finding{'' if len(self) == 1 else 's'} in {seen}"
        return "\n\n".join([count, *map(str, self)])

    def as_dict(self) -> dict[str, Any]:
        """Return everything in JSON types."""
        findings = [asdict(finding) for finding in self]
        return {"rows": self.rows, "steps": self.steps, "findings": findings}


def _wrapped(text: str) -> str:
    """Break a text into indented lines."""
    return textwrap.fill(text, _COLUMNS, initial_indent="    ", subsequent_indent="    ")
