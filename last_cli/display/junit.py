"""The gates of a view as a test suite, for what shows the results of tests in CI."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from last_cli.base.errors import UsageError, spelled
from last_cli.display.escape import plain
from last_cli.display.view import Passed, View


def page(view: View) -> str:
    """One test per gate, failed where it does not hold.

    Raises:
        UsageError: there are no gates.
    """
    if not view.gates:
        raise UsageError("⟦format junit⟧ shows gates, and there are none", "add one, such as ⟦min_accuracy 0.6⟧")
    failures = sum(not gate.passed for gate in view.gates)
    suite = f'name={_attribute(view.title)} tests="{len(view.gates)}" failures="{failures}"'
    cases = "\n".join(_case(view.title, gate) for gate in view.gates)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n<testsuite {suite}>\n{cases}\n</testsuite>\n'
        "</testsuites>\n"
    )


def _case(title: str, gate: Passed) -> str:
    case = f"<testcase classname={_attribute(title)} name={_attribute(gate.name)}"
    if gate.passed:
        return f"{case}/>"
    # Some readers show the attribute, others the text.
    return f"{case}><failure message={_attribute(gate.line)}>{escape(_read(gate.line))}</failure></testcase>"


def _attribute(text: str) -> str:
    return quoteattr(_read(text))


def _read(text: str) -> str:
    return plain(spelled(text))
