"""Limits: who is left out, who is turned away, and that a crowd neither costs more nor locks the honest out."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.delivery.retry import SECOND_NS
from pcapeda.errors import BadConfig
from pcapeda.limits.limits import Bounds, Limits, Networks, in_force
from pcapeda.limits.token_bucket import TokenBucket
from pcapeda.model import Datagram, Entry, flow_number
from tests.command import FIXTURES, pcapeda
from tests.datagrams import EXAMPLE, datagrams


def live(**asked: object) -> Limits:
    return Limits(Bounds(**asked), live=True, costs_money=True)  # type: ignore[arg-type]


def replayed(**asked: object) -> Limits:
    return Limits(Bounds(**asked), live=False, costs_money=True)  # type: ignore[arg-type]


def from_(source: str) -> Datagram:
    return EXAMPLE._replace(source=source)


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        (("192.0.2.0/24",), ["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0", "2001:db8::"]),
        (("192.0.2.7",), ["192.0.2.7"], ["192.0.2.6"]),
        (("2001:db8::/32", "10.0.0.0/8"), ["2001:db8:ffff::1", "10.9.8.7"], ["2001:db9::", "11.0.0.0", "::10.0.0.1"]),
        (("0.0.0.0/0",), ["203.0.113.1"], ["::1"]),
        (("::/0",), ["::1"], ["203.0.113.1"]),
        (("10.0.0.0/8", "10.1.0.0/16", "172.16.0.0/12"), ["10.1.2.3", "10.2.2.3", "172.31.0.1"], ["172.32.0.1"]),
        ((), [], ["192.0.2.1", "::1"]),
    ],
)
def test_networks_hold_their_addresses(networks: tuple[str, ...], inside: list[str], outside: list[str]) -> None:
    """CIDR (RFC 4632, RFC 4291): the leading bits decide, and versions never mix."""
    held = Networks("--allow", networks)
    assert all(address in held for address in inside)
    assert not any(address in held for address in outside)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("192.0.2.1/24", "192.0.2.0/24"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("192.0.2.0/33", "not a network"),
        ("example.com", "not a network"),
        ("", "not a network"),
        ("\x1b[31m", "not a network"),
    ],
)
def test_what_is_no_network_is_refused(text: str, words: str) -> None:
    """One line that can be printed, and what was probably meant."""
    with pytest.raises(BadConfig) as caught:
        Bounds(deny=(text,)).check_bounds()
    assert words in f"{caught.value} {caught.value.hint}"
    assert str(caught.value).isprintable()


def test_deny_wins_over_allow() -> None:
    """Allowed is what is in an allowed network and in no denied one; without --allow, all that is not denied."""
    limits = replayed(allow=("10.0.0.0/8",), deny=("10.1.0.0/16",))
    assert limits.leave_out(from_("10.2.0.1")) is None
    assert limits.leave_out(from_("10.1.0.1")) == "denied"
    assert limits.leave_out(from_("192.0.2.1")) == "not allowed"
    assert replayed(deny=("10.0.0.0/8",)).leave_out(from_("192.0.2.1")) is None
    assert limits.top_limited() == {("denied", "10.1.0.1"): 1, ("not allowed", "192.0.2.1"): 1}


@settings(deadline=None)
@given(datagrams())
def test_a_flow_is_the_same_in_both_directions(datagram: Datagram) -> None:
    """Request and answer are in the sample together."""
    answer = datagram._replace(
        source=datagram.destination,
        source_port=datagram.destination_port,
        destination=datagram.source,
        destination_port=datagram.source_port,
    )
    assert flow_number(datagram) == flow_number(answer)


def test_a_sample_is_one_flow_of_n_and_always_the_same() -> None:
    """About one in ten of 5,000 flows, whole flows only, chosen alike by every run."""
    flows = [EXAMPLE._replace(source_port=port) for port in range(5000)]
    first, second, whole = replayed(sample=10), live(sample=10), replayed(sample=1)
    chosen = [first.leave_out(flow) is None for flow in flows]
    assert 400 < sum(chosen) < 600
    assert [second.leave_out(flow) is None for flow in flows] == chosen
    assert all(whole.leave_out(flow) is None for flow in flows)
    # Written down, so that a change of the hash does not silently change everybody's samples.
    assert flow_number(EXAMPLE) == 9_859_904_736_353_863_870


@pytest.mark.parametrize(
    "asked",
    [
        {"max_rate": -1.0},
        {"max_rate_per_source": float("nan")},
        {"max_cost": float("inf")},
        {"price": 0.0},
        {"price": float("nan")},
        {"sample": 0},
    ],
)
def test_bounds_that_cannot_be_honoured_are_refused(asked: dict[str, float]) -> None:
    with pytest.raises(BadConfig):
        Bounds(**asked).check_bounds()  # type: ignore[arg-type]


def test_a_replay_refuses_per_source_by_the_capture_s_time() -> None:
    """Two a second of each source, after a burst of two; another source has its own; the overall rate refuses none."""
    limits = replayed(max_rate_per_source=2, max_rate=1)
    quick = [limits.admit(from_("192.0.2.1"), number * SECOND_NS // 100) for number in range(100)]
    assert Counter(quick) == {None: 3, "rate limit per source": 97}
    assert limits.admit(from_("192.0.2.2"), SECOND_NS) is None
    assert limits.top_limited() == {("rate limit per source", "192.0.2.1"): 97}


def test_hosts_of_one_network_of_64_bits_share_a_rate() -> None:
    """Whoever owns a /64 cannot have 2**64 rates."""
    limits = replayed(max_rate_per_source=1)
    verdicts = [limits.admit(from_(f"2001:db8::{number:x}"), 0) for number in range(1, 101)]
    assert verdicts.count(None) == 1


def test_what_is_refused_costs_its_source_nothing() -> None:
    """A datagram that the overall rate turns away takes nothing from its source's rate."""
    limits = live(max_rate=1, burst=1, max_rate_per_source=1)
    assert limits.admit(from_("192.0.2.9"), 0) is None
    assert {limits.admit(from_("192.0.2.1"), 0) for _ in range(10)} == {"rate limit"}
    assert [limits.admit(from_("192.0.2.1"), second * SECOND_NS) for second in (1, 2)] == [None, None]


def flood(limits: Limits, sources: list[str], *, pps: int, seconds: int) -> tuple[Counter[str], int]:
    """Forged sources in a row, and an honest one that began three seconds before and speaks once a second."""
    admitted: Counter[str] = Counter()
    asked = 0
    for now in (0, SECOND_NS, 2 * SECOND_NS):
        admitted["honest"] += limits.admit(from_("198.51.100.7"), now) is None
    start = 3 * SECOND_NS
    for number in range(pps * seconds):
        now = start + number * SECOND_NS // pps
        if number % pps == pps // 2:
            asked += 1
            admitted["honest"] += limits.admit(from_("198.51.100.7"), now) is None
        admitted["forged"] += limits.admit(from_(sources[number % len(sources)]), now) is None
    return admitted, asked + 3


RANDOM = random.Random(7)
ANYONE = [".".join(str(RANDOM.randrange(256)) for _ in range(4)) for _ in range(60_000)]


@pytest.mark.parametrize("crowd", [1, 20, 400, 3000, 60_000])
def test_a_flood_costs_the_rate_and_the_honest_get_through(crowd: int) -> None:
    """By the default limits: never more than 50 a second and the burst, and every datagram of the honest source."""
    seconds = 10
    admitted, asked = flood(live(), ANYONE[:crowd], pps=6000, seconds=seconds)
    assert admitted.total() <= 100 + 50 * (seconds + 3)
    assert admitted["honest"] == asked


def test_who_begins_in_the_middle_of_a_flood_gets_through_too() -> None:
    """All addresses forged anew: a source that repeats itself is told from those that do not."""
    limits = live()
    heard = []
    for number in range(60_000):
        now = number * SECOND_NS // 6000
        if number % 6000 == 3000 and number > 20_000:
            heard.append(limits.admit(from_("198.51.100.7"), now))
        limits.admit(from_(ANYONE[number]), now)
    assert len(heard) >= 6
    assert heard[1:] == [None] * (len(heard) - 1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, SECOND_NS), st.integers(0, 9)), max_size=200), st.integers(1, 8))
def test_tokens_that_are_kept_are_there(steps: list[tuple[int, int]], keep: int) -> None:
    """A bucket of ten never falls below what is kept, and admits in all what one without the reserve would."""
    bucket, now, left = TokenBucket(1, 10), 0, 10.0
    for gap, regular in steps:
        now += gap
        left = min(10.0, left + gap / SECOND_NS)
        wait = bucket.take(now, keep=0 if regular == 0 else keep)
        need = 1 if regular == 0 else keep + 1
        assert (wait == 0) == (left >= need - 1e-6)
        if wait == 0:
            left -= 1


def test_the_price_is_settable() -> None:
    """Ten events for the price of ten, whatever it is."""
    entry = Entry("udp.raw", "UdpPacket", "{}", None, (), 100, "0")
    for price in (0.25, 1.0, 3.5):
        limits = replayed(price=price, max_cost=price * 10 / 1_000_000)
        paid = [limits.afford(entry) for _ in range(11)]
        assert paid[:10] == [None] * 10
        assert paid[10] is not None


def test_what_is_in_force_is_said() -> None:
    """The defaults of a live run, their cost at the price, and how to lift them."""
    told = in_force(live())
    assert "at most 50 events/s (burst 100), of one source 10 (burst 50): 4.32 USD a day" in told
    assert "--max-rate N and --max-rate-per-source N change this, 0 lifts it" in told
    assert "8.64 USD a day" in in_force(live(price=2.0))
    lifted = in_force(live(max_rate=0))
    assert lifted.startswith("no rate limit: 1.00 USD per million")
    assert "of one source, 7 events/s" in in_force(live(max_rate=0, max_rate_per_source=7))
    assert "of one source" not in in_force(live(max_rate_per_source=0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--sample", "10"), b"as in --sample 1/100"),
        (("--sample", "1/0"), b"--sample"),
        (("--allow", "10.0.0.1/8"), b"10.0.0.0/8"),
        (("--deny", "nowhere"), b"not a network"),
        (("--price", "0"), b"--price"),
        (("--max-rate-per-source", "nan"), b"--max-rate-per-source"),
        (("--group", "5", "--aggregate", "5"), b"give one of them"),
    ],
)
def test_the_command_line_refuses_what_it_cannot_honour(options: tuple[str, ...], words: bytes) -> None:
    """Exit code 2 and a line or two, before anything is read."""
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "-n", *options)
    assert done.returncode == 2
    assert done.stdout == b""
    assert words in done.stderr
    assert b"Traceback" not in done.stderr


def test_the_summary_names_who_was_limited() -> None:
    """By reason and source, most first; the events that came through are those of the others."""
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "-n", "--deny", "192.0.2.0/24")
    assert done.returncode == 0, done.stderr
    assert b"9 denied" in done.stderr
    assert b"denied: 192.0.2.20 (6), 192.0.2.1 (2)" in done.stderr
    assert b"192.0.2." not in b"".join(line.split(b'"Source":{')[1][:30] for line in done.stdout.splitlines())
