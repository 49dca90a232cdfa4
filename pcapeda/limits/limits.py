"""What may be sent, decided before anything is built: whose datagrams, how many a second, how much in all.

`Bounds` is what a person asked for, `Limits` decides by it. It never sleeps, and counts whom it turned away.
"""

import ipaddress
from collections import Counter
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_pton

from pcapeda.aws import quotas
from pcapeda.errors import BadField
from pcapeda.limits.heavy_hitters import HeavyHitters
from pcapeda.limits.per_source import Fingerprint, KnownSources, SourceRates, source_key
from pcapeda.limits.token_bucket import TokenBucket
from pcapeda.model import Datagram, Entry, flow_number
from pcapeda.options.bounds import Texts, check_numbers, texts

SNIFF_RATE, SNIFF_BURST = 50.0, 100
"""Events per second that `sniff` puts on a bus unless asked otherwise: 4.32 USD a day at 1 USD per million."""

SOURCE_SHARE = 5
"""One source may take a fifth of the rate of `sniff`, and half of its burst, unless asked otherwise."""

TOP = 10
"""How many of those who were limited are named."""


@dataclass(frozen=True)
class Bounds:
    """What keeps a run within bounds. Each field bears the name of its command-line option.

    None and empty mean 'not asked for'; a rate of 0 means 'no limit, not even the default'.
    """

    max_rate: float | None = None
    burst: int | None = None
    max_rate_per_source: float | None = None
    allow: Texts = Texts(texts, ())
    deny: Texts = Texts(texts, ())
    sample: int | None = None
    """Keep one of so many flows."""
    max_events: int | None = None
    max_cost: float | None = None
    price: float | None = None
    """USD per million billed units: events of up to 64 KB, on a bus of v2 KB. None: the published price."""

    def __post_init__(self) -> None:
        numbers = ("max_rate", "burst", "max_rate_per_source", "sample", "max_events", "max_cost", "price")
        check_numbers(type(self).__name__, self, numbers)

    @property
    def tariff(self) -> quotas.Tariff:
        """What events cost where they go."""
        return quotas.tariff(v2=False, price=self.price)

    def check_bounds(self) -> None:
        """Refuse what cannot be honoured. Raises `BadConfig`."""
        if self.max_cost is not None and self.tariff.price is None:
            raise BadField("{max_cost} needs a price on a bus of EventBridge v2", hint=quotas.PRICE_UNKNOWN)
        Networks("allow", self.allow)
        Networks("deny", self.deny)


class Networks:
    """A set of networks, asked whether it holds an address. Raises `BadConfig` for what is no network."""

    __slots__ = ("_by_length",)

    def __init__(self, field: str, networks: tuple[str, ...]) -> None:
        # Per IP version and prefix length the networks' leading bits: a look-up costs one set per length in use.
        self._by_length: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
        for text in networks:
            network = _network(field, text)
            shift = network.max_prefixlen - network.prefixlen
            self._by_length[network.version].setdefault(shift, set()).add(int(network.network_address) >> shift)

    def __contains__(self, address: str) -> bool:
        version, family = (6, AF_INET6) if ":" in address else (4, AF_INET)
        lengths = self._by_length[version]
        if not lengths:
            return False
        number = int.from_bytes(inet_pton(family, address))
        return any(number >> shift in heads for shift, heads in lengths.items())


def _network(field: str, text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    shown = quotas.shown(text)
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise BadField(
            f"{{{field}}} %s: not a network", shown, hint="as in 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7"
        ) from None
    raise BadField(
        f"{{{field}}} %s: has bits set outside the mask", shown, hint=f"{{{field}}} {meant} is the network it is in"
    )


class Limits:
    """The limits in force, and the decisions by them.

    `live` turns away what exceeds a rate, since nobody can wait; a replay waits for the overall rate. To a sink that
    `costs_money` a live run has limits unless lifted. With `summaries`, events stand for many datagrams: then the
    overall rate counts events when they are made, and with `summaries="flow"` the rate per source does, too, with a
    burst of what flows in during `window_s`, since a window's summaries come all at once. `key` makes the table of
    sources unpredictable; a replay has none, so that the same file gives the same events.

    `rate` and `source_rate` are the events per second in force (None: no limit), with their bursts.
    """

    def __init__(
        self,
        bounds: Bounds,
        *,
        live: bool,
        costs_money: bool,
        summaries: str | None = None,
        window_s: float = 0,
        key: bytes = b"",
    ) -> None:
        self.bounds = bounds
        self.live = live
        self._summaries = summaries
        rate, burst, source_rate = bounds.max_rate, bounds.burst, bounds.max_rate_per_source
        if live and costs_money and rate is None:
            rate, burst = SNIFF_RATE, burst or SNIFF_BURST
        self.rate = rate or None
        self.burst = burst or max(1, round(rate or 1))
        self.source_burst = max(1, round(source_rate or 1))
        if live and costs_money and source_rate is None and self.rate is not None:
            source_rate = self.rate / SOURCE_SHARE
            self.source_burst = max(1, self.burst // 2)
        if summaries == "flow":
            self.source_burst = max(self.source_burst, round((source_rate or 0) * window_s))
        self.source_rate = source_rate or None
        self.turned_away: HeavyHitters[tuple[str, str]] = HeavyHitters()
        """Who was limited or left out most: (reason, source)."""
        self._bucket = TokenBucket(self.rate, self.burst) if self.rate is not None else None
        self._sources = SourceRates(self.source_rate, self.source_burst) if self.source_rate is not None else None
        self._known_sources: KnownSources | None = None
        if live and self.rate is not None and summaries is None:
            if self.source_rate is not None and self.source_rate < self.rate:
                self._known_sources = KnownSources(self.source_rate, self.source_burst)
            else:
                self._known_sources = KnownSources(self.rate, self.burst)
        self._reserve = self.burst // 2
        self._fingerprint = Fingerprint(key)
        self._allow = Networks("allow", bounds.allow) if bounds.allow else None
        self._deny = Networks("deny", bounds.deny) if bounds.deny else None
        self._sample = bounds.sample if bounds.sample != 1 else None
        self._events_left = bounds.max_events
        self._tariff = bounds.tariff
        self._chunks_left: int | None = None
        if bounds.max_cost is not None and self._tariff.price is not None:
            self._chunks_left = quotas.chunks_for(bounds.max_cost, self._tariff.price)

    @property
    def choosy(self) -> bool:
        """Whether `leave_out` can leave anything out."""
        return self._allow is not None or self._deny is not None or self._sample is not None

    @property
    def any(self) -> bool:
        """Whether there is anything at all that could leave out or refuse a datagram, or end the run."""
        rated = self.rate is not None or self.source_rate is not None
        return rated or self.choosy or self._events_left is not None or self._chunks_left is not None

    def leave_out(self, datagram: Datagram) -> str | None:
        """Why a datagram is not asked for: by its source's network, or because its flow is not in the sample."""
        reason = None
        if self._deny is not None and datagram.source in self._deny:
            reason = "denied"
        elif self._allow is not None and datagram.source not in self._allow:
            reason = "not allowed"
        elif self._sample is not None and flow_number(datagram) % self._sample:
            reason = "not sampled"
        if reason is not None:
            self.note(reason, datagram.source)
        return reason

    def admit(self, datagram: Datagram, now_ns: int) -> str | None:
        """None, and the datagram is admitted; or the limit it exceeds.

        `now_ns` is the clock's for a live run; the capture's in a replay, where only the rate per source refuses.
        """
        if self._summaries == "flow" or (self._sources is None and self._known_sources is None):
            return None
        key = source_key(datagram.source)
        print_ = self._fingerprint(key)
        known = self._known_sources is not None and self._known_sources.observe(print_, now_ns)
        reason = None
        if self._sources is not None and not self._sources.admits(print_, now_ns):
            reason = "rate limit per source"
        elif self._bucket is not None and self.live and not self._summaries:
            # Half the burst is for known sources, so that a crowd of strangers cannot lock them out.
            reason = self._take(now_ns, keep=0 if known else self._reserve)
        if reason is not None:
            self.turned_away.add((reason, key))
        elif self._sources is not None:
            self._sources.charge(print_, now_ns)
        return reason

    def admit_summary(self, source: str | None, now_ns: int) -> str | None:
        """The rate per source for an event that stands for many datagrams of `source` (None: of several)."""
        if self._summaries != "flow" or self._sources is None or source is None:
            return None
        print_ = self._fingerprint(source_key(source))
        if not self._sources.admits(print_, now_ns):
            return "rate limit per source"
        self._sources.charge(print_, now_ns)
        return None

    def wait(self, now_ns: int) -> int:
        """Nanoseconds the next event must wait for the overall rate; 0, and its token is taken."""
        return self._bucket.take(now_ns) if self._bucket is not None else 0

    def _take(self, now_ns: int, keep: int = 0) -> str | None:
        return "rate limit" if self._bucket is not None and self._bucket.take(now_ns, keep=keep) else None

    def afford(self, entry: Entry) -> str | None:
        """None, and the entry is paid for; or, in words, the budget that cannot hold it."""
        if self._events_left is not None:
            if self._events_left < 1:
                return f"--max-events {self.bounds.max_events:,}"
            self._events_left -= 1
        if self._chunks_left is not None:
            chunks = self._tariff.units(entry.size)
            if self._chunks_left < chunks:
                return f"--max-cost {self.bounds.max_cost:.9f}".rstrip("0").rstrip(".") + " USD"
            self._chunks_left -= chunks
        return None

    def note(self, reason: str, source: str, amount: int = 1) -> None:
        """Count that so many datagrams of this source were turned away."""
        self.turned_away.add((reason, source_key(source)), amount)

    def top_limited(self) -> Counter[tuple[str, str]]:
        """Whom the limits turned away most, by reason and source; nobody whose count is mostly error."""
        error = self.turned_away.error
        return Counter({who: count for who, count in self.turned_away.top(TOP) if count > 2 * error})


def in_force(limits: Limits) -> str:
    """What a live run to a bus may send, what a day of that costs, and how to change it: one sentence."""
    tariff = limits.bounds.tariff
    if limits.rate is None:
        per_source = "" if limits.source_rate is None else f" (of one source, {limits.source_rate:g} events/s)"
        if tariff.price is None:
            return f"no rate limit{per_source}; {quotas.PRICE_UNKNOWN}"
        price = tariff.price
        if tariff.v2:
            return (
                f"no rate limit{per_source}: {price:.2f} USD per million KB; 10,000 events/s of 1 KB would "
                f"cost {_a_day(10_000, price)}"
            )
        return (
            f"no rate limit{per_source}: {price:.2f} USD per million events of up to 64 KB; 10,000 events/s would "
            + (f"cost {_a_day(10_000, price)}")
        )
    sentence = f"at most {limits.rate:g} events/s (burst {limits.burst})"
    if limits.source_rate is not None:
        sentence += f", of one source {limits.source_rate:g} (burst {limits.source_burst})"
    if tariff.price is None:
        sentence += f"; {quotas.PRICE_UNKNOWN}"
    elif tariff.v2:
        sentence += f": {_a_day(limits.rate, tariff.price)} at most while events stay below 1 KB"
    else:
        sentence += f": {_a_day(limits.rate, tariff.price)} at most while events stay below 64 KB"
    sentence += "; --max-rate N"
    sentence += (
        " and --max-rate-per-source N change this, 0 lifts it"
        if limits.source_rate is not None
        else (" changes it, --max-rate 0 lifts it")
    )
    return sentence


def _a_day(rate: float, price: float) -> str:
    return f"{quotas.cost_usd(rate * 86_400, price):,.2f} USD a day"
