"""What a mount holds to of the servers it logged in to."""

from __future__ import annotations

import pytest

from sftpfs.transport.keys.pinned_keys import Pin, Pins
from sftpfs.transport.messages import HostKey

GATE, HOST = "gate", "[host]:2222"


def taken(key: bytes, judged: HostKey = HostKey.TAKEN, certified: bool = False) -> Pin:
    return Pin(key, certified, judged)


def kept(*pins: tuple[str, Pin]) -> Pins:
    made = Pins()
    assert made.keep({name: pin.message() for name, pin in pins}) is None
    return made


def test_they_travel() -> None:
    for pin in (taken(b"\x00key"), taken(b"a", HostKey.CERTIFIED, True)):
        assert Pin.of(pin.message()) == pin
    pins = kept((GATE, taken(b"a")), (HOST, taken(b"b")))
    assert {name: Pin.of(message) for name, message in pins.message().items()} == {
        GATE: taken(b"a"),
        HOST: taken(b"b"),
    }
    with pytest.raises((ValueError, KeyError)):
        Pin.of({"key": "?", "certified": False, "judged": "known"})


def test_two_logins_at_once_that_took_different_keys_contradict_each_other() -> None:
    pins = kept((GATE, taken(b"a")), (HOST, taken(b"b")))
    assert pins.keep({GATE: taken(b"a").message(), HOST: taken(b"c").message()}) == HOST
    assert Pin.of(pins.message()[HOST]).key == b"b"
    assert pins.keep({HOST: taken(b"b", certified=True).message()}) == HOST


@pytest.mark.parametrize("judged", [HostKey.KNOWN, HostKey.CERTIFIED])
def test_what_known_hosts_says_is_held_to_from_then_on(judged: HostKey) -> None:
    pins = kept((HOST, taken(b"b")))
    assert pins.keep({HOST: taken(b"c", judged).message()}) is None
    assert Pin.of(pins.message()[HOST]).key == b"c"
