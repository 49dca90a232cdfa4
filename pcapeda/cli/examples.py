"""The examples that `--help` shows, by command: a command line, and what it does where that does not go without saying.

The tests run every one of them, in a folder that holds the files which they name.
"""

from collections.abc import Mapping, Sequence

EXAMPLES: Mapping[str, Sequence[tuple[str, str]]] = {
    "": (
        ("pcapeda replay capture.pcap --dry-run", "Show the events of a capture: no account, nothing is sent."),
        ("sudo pcapeda sniff -i eth0 --port 514 --bus my-bus", "Put syslog that arrives on an event bus."),
        ("pcapeda rules test capture.pcap --rules rules.json", "Try event rules offline."),
    ),
    "replay": (
        ("pcapeda replay capture.pcap --dry-run", "Print the events: no account, nothing is sent."),
        ("pcapeda replay capture.pcap --port 514 --bus my-bus --region eu-west-1", ""),
        ("pcapeda replay captures/ --speed 1 --bus my-bus", "A folder of captures, with the captured gaps."),
        ("tcpdump -U -w - -i eth0 udp | pcapeda replay - -n", "What tcpdump sees, as it comes."),
    ),
    "sniff": (
        ("sudo pcapeda sniff -i eth0 --port 514 --dry-run", "Print the events: no account, nothing is sent."),
        ("sudo pcapeda sniff -i eth0 -f 'udp port 514' --bus my-bus --spool spool/", "Keeping events in an outage."),
        ("sudo pcapeda sniff -i any -c 3 -n -o jsonl", "Three datagrams from anywhere, as JSON lines."),
    ),
    "inspect": (
        ("pcapeda inspect capture.pcap", ""),
        ("pcapeda inspect captures/ --port 514 -o json", "A folder of captures, for programs."),
    ),
    "rules": (
        ("pcapeda rules test capture.pcap --rules rules.json", "Which rule matches what, and what falls through."),
        ("pcapeda rules explain capture.pcap --frame 1 --rules rules.json", "Why, field by field."),
        ("pcapeda rules lint template.yaml", "What is wrong with the rules of a template."),
    ),
    "rules test": (
        ("pcapeda rules test capture.pcap --rules rules.json", ""),
        ("pcapeda rules test capture.pcap --rules rules.json --expect expected.yaml", ""),
        ("pcapeda rules test suite.pcapeda.yaml -o junit", "All that in one file; a report for a CI."),
    ),
    "rules explain": (
        ("pcapeda rules explain event.json --rules rules.json", ""),
        ("pcapeda rules explain capture.pcap --frame 1 --rules rules.json", "The event of one packet."),
    ),
    "rules lint": (
        ("pcapeda rules lint rules.json", ""),
        ("pcapeda rules lint template.yaml --parameter Stage=prod", ""),
    ),
    "rules list": (
        ("pcapeda rules list rules/", ""),
        ("pcapeda rules list template.yaml -o json", ""),
    ),
    "resend": (
        ("pcapeda resend spool/", "To the bus that the events were meant for."),
        ("pcapeda resend spool/ --dead", "Once more what the bus has refused for good."),
    ),
    "interfaces": (("pcapeda interfaces", ""), ("pcapeda interfaces -o json", "")),
    "schema": (
        ("pcapeda schema --shape minimal", ""),
        ("pcapeda schema --suite", "For editors that check *.pcapeda.yaml."),
    ),
    "help": (("pcapeda help replay", ""), ("pcapeda help rules test", "")),
    "version": (("pcapeda version", ""),),
}
