"""A pytest plugin: suite files are collected as tests, and two fixtures try rules from test code.

Nothing is imported before it is used, so it costs nothing to those who do not use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pcapeda.model import ACCOUNT, REGION

if TYPE_CHECKING:
    from pcapeda.rules.bus import LocalBus
    from pcapeda.suite import Result, Suite
    from pcapeda.trial import Expectation

ENDINGS = (".pcapeda.yaml", ".pcapeda.yml")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SuiteFile | None:
    """Suite files are tests."""
    if file_path.name.endswith(ENDINGS):
        return SuiteFile.from_parent(parent, path=file_path)
    return None


class SuiteFile(pytest.File):
    """A suite: one test for each expectation, or one that it runs at all. The captures are walked once for all."""

    _result: Result | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """One item for each expectation."""
        from pcapeda.errors import PcapedaError
        from pcapeda.suite import read_suite

        try:
            suite = read_suite(str(self.path))
        except PcapedaError as error:
            raise self.CollectError(_told(error)) from None
        if not suite.expectations:
            yield SuiteItem.from_parent(self, name="runs", suite=suite, expectation=None)
        for expectation in suite.expectations:
            yield SuiteItem.from_parent(self, name=str(expectation), suite=suite, expectation=expectation)

    def result(self, suite: Suite) -> Result:
        """What came out of the suite; run when first asked for."""
        from pcapeda.suite import run_suite

        if self._result is None:
            self._result = run_suite(suite)
        return self._result


class SuiteItem(pytest.Item):
    """One expectation of a suite."""

    def __init__(self, *, suite: Suite, expectation: Expectation | None, **rest: Any) -> None:
        super().__init__(**rest)
        self._suite, self._expectation = suite, expectation

    def runtest(self) -> None:
        """Fails with the explanation when the expectation does not hold, or when something could not be read."""
        from pcapeda.errors import PcapedaError

        assert isinstance(self.parent, SuiteFile)
        try:
            result = self.parent.result(self._suite)
        except PcapedaError as error:
            raise Unexpected(_told(error)) from None
        problems = [*map(str, result.loaded.problems), *result.report.failures, *map(str, result.report.damages)]
        if self._expectation is None and problems:
            raise Unexpected("\n".join(problems))
        for judgement in result.judgements:
            if judgement.expectation == self._expectation and not judgement.holds:
                raise Unexpected("\n".join([f"expected: {judgement.expectation}", judgement.words, *problems]))

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
    return f"{error}\nhint: {error.hint}" if error.hint else str(error)


@pytest.fixture
def pcap() -> Callable[..., list[dict[str, Any]]]:
    """`pcap(path, …)` gives the events of a capture, as rules see them.

    Keyword arguments are those of `Shape` (source, text, …), and `filter`, `decapsulate` and `tunnels`.
    """

    def events(
        *captures: str | Path,
        filter: str | None = None,  # noqa: A002
        decapsulate: bool = False,
        tunnels: Iterable[tuple[int, str]] = (),
        **shape: Any,
    ) -> list[dict[str, Any]]:
        from dataclasses import replace

        from pcapeda.events.shape import Shape
        from pcapeda.pipeline import datagrams

        found, asked = [], tuple(tunnels)
        for path in map(str, captures):
            shaped = replace(Shape(**shape), file=path)
            for datagram in datagrams(path, filter=filter, decapsulate=decapsulate, tunnels=asked):
                found.append(shaped.entry(datagram).envelope())
        return found

    return events


@pytest.fixture
def local_bus() -> Callable[..., LocalBus]:
    """`local_bus(*rules, …)` gives a bus with the rules of those files: send it captures or events, ask what matched.

    Keyword arguments are those of `rules.load.load` and `LocalBus`: `parameters`, `bus`, `account`, `region`.
    """

    def build(
        *rules: str | Path,
        parameters: dict[str, str] | None = None,
        bus: str = "default",
        account: str = ACCOUNT,
        region: str = REGION,
    ) -> LocalBus:
        from pcapeda.rules.bus import LocalBus
        from pcapeda.rules.load import load

        sources = [str(path) for path in rules]
        loaded = load(sources, parameters=parameters or {}, account=account, region=region)
        return LocalBus(loaded.rules, bus=bus, account=account, region=region)

    return build


__all__: Sequence[str] = ("local_bus", "pcap", "pytest_collect_file")
