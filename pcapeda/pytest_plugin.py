"""A pytest plugin: suite files are collected as tests, and two fixtures try rules from test code.

Nothing is imported before it is used, so it costs nothing to those who do not use it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pcapeda.model import ACCOUNT, REGION

if TYPE_CHECKING:
    from pcapeda.ruletest.local_bus import LocalBus
    from pcapeda.ruletest.suite import Result, Suite

__tracebackhide__ = True  # pytest shows the test that asked, not how it was answered

ENDINGS = (".pcapeda.yaml", ".pcapeda.yml")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SuiteFile | None:
    """Suite files are tests."""
    if file_path.name.endswith(ENDINGS):
        return SuiteFile.from_parent(parent, path=file_path)
    return None


class SuiteFile(pytest.File):
    """A suite: a test for each expectation, and one that all could be read. The captures are read once for all."""

    _result: Result | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """The item `runs`, and one item for each expectation, called after its `name` or its rule."""
        from pcapeda.errors import PcapedaError
        from pcapeda.ruletest.suite import case_names, read_suite

        try:
            suite = read_suite(str(self.path))
        except PcapedaError as error:
            raise self.CollectError(_told(error)) from None
        yield SuiteItem.from_parent(self, name="runs", suite=suite, place=None)
        for place, name in enumerate(case_names(suite.expectations)):
            yield SuiteItem.from_parent(self, name=name, suite=suite, place=place)

    def result(self, suite: Suite) -> Result:
        """What came out of the suite; run when first asked for."""
        from pcapeda.ruletest.suite import run_suite

        if self._result is None:
            self._result = run_suite(suite)
        return self._result


class SuiteItem(pytest.Item):
    """The expectation at a place in a suite; without a place, that everything could be read."""

    def __init__(self, *, suite: Suite, place: int | None, **rest: Any) -> None:
        super().__init__(**rest)
        self._suite, self._place = suite, place

    def runtest(self) -> None:
        """Fails with the explanation when the expectation does not hold, or when something could not be read."""
        from pcapeda.errors import PcapedaError
        from pcapeda.safety.visible import visible

        assert isinstance(self.parent, SuiteFile)
        try:
            result = self.parent.result(self._suite)
        except PcapedaError as error:
            raise Unexpected(_told(error)) from None
        if self._place is None:
            if result.problems:
                raise Unexpected("\n".join(map(visible, result.problems)))
            return
        judgement = result.judgements[self._place]
        if not judgement.holds:
            raise Unexpected(f"expected: {visible(str(judgement.expectation))}\n{judgement.words}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The explanation alone: where in this plugin it failed helps nobody."""
        if isinstance(excinfo.value, Unexpected):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where the test is from."""
        return self.path, None, self.name


class Unexpected(Exception):
    """An expectation that did not hold."""


def _told(error: Any) -> str:
    from pcapeda.safety.visible import visible

    return visible(str(error)) + (f"\nhint: {visible(error.hint)}" if error.hint else "")


def _from(folder: str, path: str | Path) -> str:
    """A path as the file in `folder` means it."""
    return str(path) if str(path).startswith("aws:") else str(Path(folder, path))


def _answer(ask: Callable[[], Any]) -> Any:
    """What is asked for; what goes wrong is shown where the test asked for it."""
    from pcapeda.errors import PcapedaError

    try:
        return ask()
    except PcapedaError as error:
        raise error.with_traceback(None) from None


@pytest.fixture(scope="session")
def pcap() -> Callable[..., list[dict[str, Any]]]:
    """`pcap(path, …)` gives the events of a capture, as rules see them; paths are relative to the file that calls.

    Keyword arguments are those of `Shape` (source, text, …), and `filter`, `decapsulate` and `tunnels`. Raises
    `BadCapture` for a damaged capture, unless `damaged=True` says that what can be read of it will do.
    """

    def events(
        *captures: str | Path,
        filter: str | None = None,  # noqa: A002
        decapsulate: bool = False,
        tunnels: Iterable[tuple[int, str]] = (),
        damaged: bool = False,
        **shape: Any,
    ) -> list[dict[str, Any]]:
        from dataclasses import replace

        from pcapeda.engine.run import datagrams
        from pcapeda.errors import BadCapture
        from pcapeda.events.shape import Shape
        from pcapeda.report import Report

        folder, asked = os.path.dirname(sys._getframe(1).f_code.co_filename), tuple(tunnels)  # noqa: PTH120 - of who calls

        def read() -> list[dict[str, Any]]:
            found = []
            for path in [_from(folder, one) for one in captures]:
                shaped, report = replace(Shape(**shape), file=path), Report()
                for datagram in datagrams(path, filter=filter, decapsulate=decapsulate, tunnels=asked, report=report):
                    found.append(shaped.entry(datagram).envelope())
                if report.damages and not damaged:
                    raise BadCapture("; ".join(map(str, report.damages)), hint="damaged=True takes what can be read")
            return found

        answer: list[dict[str, Any]] = _answer(read)
        return answer

    return events


@pytest.fixture(scope="session")
def local_bus() -> Callable[..., LocalBus]:
    """`local_bus(*rules, …)` gives a bus with the rules of those files (relative to the file that calls): send it
    captures or events, ask what matched.

    Keyword arguments are those of `rules.load.load` and `LocalBus`: `parameters`, `bus`, `account`, `region`. Raises
    `BadRule` for rules that are refused or not known offline, unless `problems=True` says that the others will do.
    """

    def build(
        *rules: str | Path,
        parameters: dict[str, str] | None = None,
        bus: str | None = None,
        account: str = ACCOUNT,
        region: str = REGION,
        problems: bool = False,
    ) -> LocalBus:
        from pcapeda.errors import BadRule
        from pcapeda.rules.sources.load import load
        from pcapeda.ruletest.local_bus import LocalBus

        folder = os.path.dirname(sys._getframe(1).f_code.co_filename)  # noqa: PTH120 - of who calls

        def made() -> LocalBus:
            sources = [_from(folder, path) for path in rules]
            loaded = load(
                sources,
                parameters=parameters or {},
                account=account if account != ACCOUNT else None,
                region=region if region != REGION else None,
            )
            if loaded.problems and not problems:
                raise BadRule("; ".join(map(str, loaded.problems)), hint="problems=True takes the other rules")
            return LocalBus(loaded.rules, bus=bus, account=account, region=region)

        answer: LocalBus = _answer(made)
        return answer

    return build


__all__: Sequence[str] = ("local_bus", "pcap", "pytest_collect_file")
