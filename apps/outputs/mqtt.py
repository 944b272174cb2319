"""Detections, counts and events to an MQTT broker, with Home Assistant's discovery."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from apps.moment import Controls, Figures, Moment
from apps.outputs.homeassistant import entities
from runtime.errors import InputError
from runtime.grammar import shown

_EXPECTED = "expected mqtt://[USER@]HOST[:PORT]/TOPIC, or mqtts://..; ?discovery=homeassistant&rate=5 may follow"
_WILD = set("+#\0")  # nothing can be published to a topic with these
_MAX_WAITING = 500  # messages kept while the broker is away
_MAX_COMMAND = 8192
PASSWORD_VARIABLE = "EDGEWREN_MQTT_PASSWORD"


class Address(NamedTuple):
    """What an ``mqtt://`` name says.

    Attributes:
        host: Of the broker.
        port: Of the broker.
        tls: Whether the connection is encrypted.
        user: Name to log in with; empty for none.
        topic: Beginning of all topics, without a slash at its ends.
        discovery: Home Assistant's discovery prefix; empty for none.
        rate: Most detection messages per second.
    """

    host: str
    port: int
    tls: bool
    user: str
    topic: str
    discovery: str
    rate: float


def parse_address(uri: str) -> Address:
    """Reads an ``mqtt://`` or ``mqtts://`` name.

    Raises:
        InputError: It is none, holds a password (which would stand in the list of processes), or unknown keys.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise InputError(f"{shown(uri)} is no MQTT address", _EXPECTED) from None
    if parts.password:
        raise InputError(
            "the MQTT address holds a password, which every user of this machine could read",
            f"expected it in the variable {PASSWORD_VARIABLE}, or with --mqtt-password-file",
            "take it out of the address",
        )
    topic = parts.path.strip("/")
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or not topic or set(topic) & _WILD:
        raise InputError(f"{uri} is no MQTT address", _EXPECTED, "give mqtt://localhost/edgewren")
    query = {"discovery": "homeassistant"} | dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(query.keys() - {"discovery", "rate"}):
        raise InputError(f"{uri}: unknown key {unknown[0]!r}", _EXPECTED)
    if set(query["discovery"]) & _WILD:
        raise InputError(f"{uri}: the discovery prefix is {query['discovery']!r}", "expected one without + and #")
    return Address(
        host=parts.hostname,
        port=port or (8883 if parts.scheme == "mqtts" else 1883),
        tls=parts.scheme == "mqtts",
        user=unquote(parts.username or ""),
        topic=topic,
        discovery=query["discovery"],
        rate=_rate(uri, query.get("rate", "5")),
    )


def _rate(uri: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1000:
        raise InputError(f"{uri}: the rate is {text!r}", "expected messages per second, 0 to 1000")
    return rate


class MqttOutput:
    """Publishes a session to a broker; the session never waits for it.

    Below the topic of the address:

    - ``availability``: ``online`` or ``offline`` (retained; the broker says ``offline`` when the app dies)
    - ``detections``: the objects of a frame as ``detect --json`` writes them, at most ``rate`` a second
    - ``objects``: number of objects by class, whenever it changes (retained)
    - ``counts``: what lines and zones have counted, whenever it changes (retained)
    - ``events``: one message per crossing, entry or exit, delivered at least once
    - ``status``: frame rate, latency and the like, once a second
    - ``set``: settings to change, as JSON with the keys of :meth:`apps.moment.Controls.change`; ``set/error`` answers

    A broker that is not there, or goes away, is tried again with growing pauses; events wait for it, up to 500.

    Args:
        uri: See :func:`parse_address`.
        name: Of the model or camera: what Home Assistant calls the device.
        controls: Takes the commands; without it there is no ``set``.
        say: Takes one line for the user when the connection comes or goes.
        password: For the user of the address; by default that of the environment.

    Raises:
        InputError: Not such an address.
    """

    def __init__(
        self,
        uri: str,
        name: str,
        controls: Controls | None,
        say: Callable[[str], None],
        password: str | None = None,
    ) -> None:
        self.address = address = parse_address(uri)
        self._name = name
        self._controls = controls
        self._say = say
        self._told_down = False
        self._sent: dict[str, str] = {}
        self._announced: dict[str, str] = {}
        self._next_detections = 0.0
        self._next_status = 0.0
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2)
        client.max_queued_messages_set(_MAX_WAITING)
        client.reconnect_delay_set(1, 30)
        client.connect_timeout = 5.0
        if address.user:
            client.username_pw_set(address.user, password or os.environ.get(PASSWORD_VARIABLE))
        if address.tls:
            client.tls_set()
        client.will_set(self._topic("availability"), "offline", 1, retain=True)
        client.on_connect = self._connected
        client.on_connect_fail = lambda client, data: self._down("not reachable")
        client.on_disconnect = self._disconnected
        client.on_message = self._command
        client.connect_async(address.host, address.port, keepalive=20)
        client.loop_start()

    def show(self, moment: Moment) -> None:
        """Publishes what is new in a moment."""
        now = time.monotonic()
        if self.address.rate and now >= self._next_detections:
            self._next_detections = now + 1 / self.address.rate
            self._publish("detections", moment.found.to_dict(moment.frame, moment.labels))
        for event in moment.events:
            self._publish("events", dataclasses.asdict(event), qos=1)
        present: dict[str, int] = {}
        for class_id in moment.found.class_ids.tolist():
            present[moment.labels[class_id]] = present.get(moment.labels[class_id], 0) + 1
        self._keep("objects", {"total": sum(present.values()), "by_class": dict(sorted(present.items()))})
        self._keep("counts", {count.name: _plain(dataclasses.asdict(count)) for count in moment.counts})
        self._announce([(count.name, count.kind) for count in moment.counts])
        self.tell(moment.figures)

    def tell(self, figures: Figures) -> None:
        """Publishes figures, once a second."""
        now = time.monotonic()
        if now >= self._next_status:
            self._next_status = now + 1
            self._publish("status", dataclasses.asdict(figures))

    def close(self) -> None:
        """Says goodbye, if there is anybody to say it to, and ends the connection."""
        # The connection may be lost meanwhile.
        with contextlib.suppress(RuntimeError, ValueError):
            if self._client.is_connected():
                self._retain(self._topic("availability"), "offline").wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    def _topic(self, name: str) -> str:
        return f"{self.address.topic}/{name}"

    def _publish(self, name: str, document: Any, qos: int = 0) -> None:
        # Old detections are of no use to anybody: only what must arrive is kept while the broker is away.
        if qos or self._client.is_connected():
            self._client.publish(self._topic(name), json.dumps(document, ensure_ascii=False), qos)

    def _keep(self, name: str, document: Mapping[str, Any]) -> None:
        """Publishes a retained message when it says something new."""
        text = json.dumps(document, ensure_ascii=False)
        if self._sent.get(name) != text and self._client.is_connected():
            self._sent[name] = text
            self._retain(self._topic(name), text)

    def _retain(self, topic: str, text: str) -> paho.MQTTMessageInfo:
        """Publishes what the broker keeps.

        Not acknowledged (QoS 0): it would be refused where many events wait for their acknowledgement. All of it is
        told anew on a new connection, so that a lost one loses nothing.
        """
        return self._client.publish(topic, text, 0, retain=True)

    def _announce(self, shapes: list[tuple[str, str]]) -> None:
        """Tells Home Assistant which sensors there are, and which are gone."""
        if not self.address.discovery or not self._client.is_connected():
            return
        wanted = entities(self.address.discovery, self.address.topic, self._name, shapes)
        if wanted == self._announced:
            return
        for topic in self._announced.keys() - wanted.keys():
            self._retain(topic, "")
        for topic, text in wanted.items():
            if self._announced.get(topic) != text:
                self._retain(topic, text)
        self._announced = wanted

    def _connected(self, client: paho.Client, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._down(str(reason).lower())
            return
        if self._told_down:
            self._told_down = False
            self._say(f"mqtt: connected to {self.address.host}")
        # A broker that restarted may have forgotten what it was told.
        self._sent.clear()
        self._announced = {}
        self._retain(self._topic("availability"), "online")
        if self._controls is not None:
            client.subscribe(self._topic("set"), 1)

    def _disconnected(self, client: paho.Client, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._down(str(reason).lower())

    def _down(self, reason: str) -> None:
        """One line however often it is tried."""
        if not self._told_down:
            self._told_down = True
            where = f"{self.address.host} port {self.address.port}"
            self._say(f"mqtt: no connection to {where} ({reason}); trying again in the background")

    def _command(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        """Changes settings as a message says; what does not fit is answered, never raised."""
        try:
            if message.retain or len(message.payload) > _MAX_COMMAND or self._controls is None:
                raise InputError("the message is retained or too long", f"expected at most {_MAX_COMMAND} bytes")
            wanted = json.loads(message.payload)
            if not isinstance(wanted, dict):
                raise InputError("the message is no JSON object", 'expected such as {"score": 0.5}')
            self._controls.change(wanted)
        except (InputError, ValueError, RecursionError) as error:
            client.publish(self._topic("set/error"), str(error)[:500], 0)


def _plain(count: dict[str, Any]) -> dict[str, Any]:
    """A count as a message: seconds in whole ones, so that it does not change with every frame."""
    count.pop("name")
    count["dwell_s"] = {label: round(seconds) for label, seconds in count["dwell_s"].items()}
    return {"in" if key == "into" else key: value for key, value in count.items()}
