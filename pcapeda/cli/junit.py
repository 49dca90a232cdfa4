"""The findings of `pcapeda rules test` as JUnit XML, for the test reports of a CI."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from pcapeda.errors import PcapedaError
from pcapeda.safety.visible import visible, xml_text

if TYPE_CHECKING:
    from pcapeda.ruletest.suite import Result

RUNS = "runs"
"""The test that fails when something could not be read, resolved or was damaged."""


@contextmanager
def kept_for_junit(broken: dict[str, PcapedaError], name: str, wanted: bool) -> Iterator[None]:
    """Keep what ends a suite, by the suite's name, where a report is `wanted`: it is written whatever happens."""
    try:
        yield
    except PcapedaError as error:
        if not wanted:
            raise
        broken[name] = error


def junit(results: "Sequence[Result]", broken: Mapping[str, PcapedaError]) -> str:
    """A test suite for each result, a test for each expectation; and one that is an error for what could not be run."""
    from pcapeda.ruletest.suite import case_names

    root = ElementTree.Element("testsuites")
    for result in results:
        problems = "\n".join(map(visible, result.problems))
        cases: list[tuple[str, str]] = [(RUNS, problems)]
        names = case_names(result.suite.expectations)
        for name, one in zip(names, result.judgements, strict=True):
            cases.append((name, "" if one.holds else f"expected: {visible(str(one.expectation))}\n{one.words}"))
        _suite(root, result.suite.name, cases, "failure")
    for name, error in broken.items():
        words = visible(str(error)) + (f"\nhint: {visible(error.hint)}" if error.hint else "")
        _suite(root, name, [(RUNS, words)], "error")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _suite(root: ElementTree.Element, name: str, cases: list[tuple[str, str]], kind: str) -> None:
    failed = sum(bool(words) for _, words in cases)
    counts = {"failures": "0", "errors": "0"} | {f"{kind}s": str(failed)}
    suite = ElementTree.SubElement(root, "testsuite", {"name": xml_text(name), "tests": str(len(cases)), **counts})
    for case_name, words in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=xml_text(name), name=xml_text(case_name))
        if words:
            lines = xml_text(words).split("\n")
            message = lines[1] if kind == "failure" and len(lines) > 1 and case_name != RUNS else lines[0]
            ElementTree.SubElement(case, kind, message=message).text = "\n".join(lines)
