"""UDP as an event source for AWS: datagrams from captures and interfaces become EventBridge events."""

__version__ = "0.1.0"
