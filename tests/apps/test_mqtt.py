"""MQTT against a real broker: what is published, commands, passwords, a broker that goes away."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from apps import outputs
from apps.moment import Count, Figures
from apps.outputs.mqtt import PASSWORD_VARIABLE, MqttOutput, parse_address
from runtime.errors import InputError
from tests.apps.moments import event, moment
from tests.ports import free_port, listens
from tests.waiting import Patience, until

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(not MOSQUITTO, reason="no mosquitto on this machine (apt install mosquitto)")


class Broker:
    """A mosquitto that can be killed and started again on its port."""

    def __init__(self, folder: Path, password: str = "") -> None:
        self.port = free_port()
        lines = [f"listener {self.port} 127.0.0.1", "user root"]
        if password:
            secrets = folder / "passwords"
            subprocess.run(["mosquitto_passwd", "-b", "-c", secrets, "cam", password], check=True)
            lines += ["allow_anonymous false", f"password_file {secrets}"]
        else:
            lines.append("allow_anonymous true")
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO
        self._process = subprocess.Popen([MOSQUITTO, "-c", self._config], stderr=subprocess.DEVNULL)
        until(lambda: listens(self.port), "mosquitto does not listen")

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


class Reader:
    """Reads every topic of a broker."""

    def __init__(self, port: int, user: str = "", password: str = "") -> None:
        self.messages: list[tuple[str, str, bool]] = []
        subscribed = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        if user:
            self.client.username_pw_set(user, password)
        self.client.on_connect = lambda client, *rest: client.subscribe("#", 1)
        self.client.on_subscribe = lambda *rest: subscribed.set()
        self.client.on_message = lambda client, data, message: self.messages.append(
            (message.topic, message.payload.decode(), message.retain)
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(10)

    def wait(self, topic: str, good: Callable[[str], bool] = lambda text: True) -> str:
        """The newest message of a topic that is good."""
        patience = Patience(15)
        while patience.lasts():
            for seen, text, _ in reversed(self.messages):
                if seen == topic and good(text):
                    return text
            time.sleep(0.01)
        raise AssertionError(f"nothing on {topic}; {len(self.messages)} messages, the last: {self.messages[-5:]}")

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Settings:
    """Controls that remember what was asked for."""

    def __init__(self) -> None:
        self.wanted: list[Mapping[str, Any]] = []

    def state(self) -> dict[str, Any]:
        return {}

    def change(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        if "score" not in wanted:
            raise InputError("unknown setting", "expected score")
        self.wanted.append(wanted)
        return {}

    def snapshot(self) -> str:
        return ""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    made.start()
    yield made
    made.kill()


@needs_mosquitto
def test_a_session_as_a_broker_sees_it(broker: Broker) -> None:
    said: list[str] = []
    settings = Settings()
    reader = Reader(broker.port)
    output = MqttOutput(f"mqtt://127.0.0.1:{broker.port}/home/cam?rate=1000", "Cam", settings, said.append)
    reader.wait("home/cam/availability", "online".__eq__)
    door = Count("door", "line", {"person": 2}, {"cat": 1})
    sofa = Count("sofa", "zone", {"cat": 1}, {}, {"cat": 1}, {"cat": 12.4})
    output.show(moment(1, (0, 2), (door, sofa), (event(5),)))
    found = json.loads(reader.wait("home/cam/detections"))
    assert [one["label"] for one in found["detections"]] == ["person", "dog"]
    assert json.loads(reader.wait("home/cam/objects")) == {"total": 2, "by_class": {"dog": 1, "person": 1}}
    counts = json.loads(reader.wait("home/cam/counts"))
    assert counts["door"]["in"] == {"person": 2}
    assert counts["sofa"] == {"kind": "zone", "in": {"cat": 1}, "out": {}, "inside": {"cat": 1}, "dwell_s": {"cat": 12}}
    assert json.loads(reader.wait("home/cam/events"))["number"] == 5
    assert json.loads(reader.wait("home/cam/status"))["fps"] == 12.5

    # What has not changed is not said again, and is kept for whoever comes later.
    output.show(moment(2, (0, 2), (door, sofa)))
    reader.wait("home/cam/detections", lambda text: json.loads(text)["frame"] == 2)
    assert [topic for topic, _, _ in reader.messages].count("home/cam/counts") == 1
    late = Reader(broker.port)
    late.wait("home/cam/counts")
    late.close()

    reader.client.publish("home/cam/set", '{"score": 0.7}', 1)
    until(lambda: settings.wanted == [{"score": 0.7}])
    for wrong in ("{", "[1]", '{"x": 1}', '{"score": ' + "1" * 9000 + "}"):
        reader.messages.clear()
        reader.client.publish("home/cam/set", wrong, 1)
        reader.wait("home/cam/set/error")
    assert settings.wanted == [{"score": 0.7}]

    output.close()
    reader.wait("home/cam/availability", "offline".__eq__)
    reader.close()
    assert said == []


@needs_mosquitto
def test_home_assistant_is_told_of_sensors_and_of_their_end(broker: Broker) -> None:
    reader = Reader(broker.port)
    output = MqttOutput(f"mqtt://127.0.0.1:{broker.port}/cam", "Cam", None, lambda line: None)
    reader.wait("cam/availability")
    output.show(moment(1, (), (Count("Front Door", "line", {"person": 2}), Count("sofa", "zone"))))
    reader.wait("homeassistant/binary_sensor/edgewren_cam/zone_sofa_occupied/config")
    seen = {topic: json.loads(text) for topic, text, _ in reader.messages if topic.startswith("homeassistant/")}
    line = [document for topic, document in seen.items() if "/line_front_door_" in topic]
    assert {document["name"] for document in line} == {"Front Door in", "Front Door out"}
    assert len({document["unique_id"] for document in seen.values()}) == len(seen)
    assert all(document["availability_topic"] == "cam/availability" for document in seen.values())
    output.show(moment(2))
    for topic in seen:
        if "zone_" in topic or "line_" in topic:
            reader.wait(topic, "".__eq__)
    output.close()
    reader.close()


@needs_mosquitto
def test_a_broker_that_is_away_at_first_and_goes_away_later(broker: Broker) -> None:
    said: list[str] = []
    broker.kill()
    output = MqttOutput(f"mqtt://127.0.0.1:{broker.port}/cam", "Cam", None, said.append)
    until(lambda: len(said) == 1)
    assert said[0].startswith(f"mqtt: no connection to 127.0.0.1 port {broker.port} (")
    output.show(moment(1, events=(event(1),)))
    broker.start()
    until(lambda: len(said) == 2)
    assert said[1] == "mqtt: connected to 127.0.0.1"

    reader = Reader(broker.port)
    broker.kill()
    reader.close()
    until(lambda: len(said) == 3)
    start = time.monotonic()
    for number in range(2, 700):
        output.show(moment(number, events=(event(number),)))
    assert time.monotonic() - start < 10  # nobody waits for the broker
    broker.start()
    reader = Reader(broker.port)
    # Events have waited, as many as are kept; what is retained is told anew.
    reader.wait("cam/events", lambda text: json.loads(text)["number"] == 2)
    reader.wait("cam/availability", "online".__eq__)
    output.show(moment(700, (0,)))
    reader.wait("cam/objects")
    reader.wait("homeassistant/sensor/edgewren_cam/objects/config")
    output.close()
    reader.wait("cam/availability", "offline".__eq__)
    reader.close()


@needs_mosquitto
@pytest.mark.parametrize(("password", "lines"), [("right", 0), ("wrong", 1)])
def test_passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, lines: int) -> None:
    said: list[str] = []
    monkeypatch.setenv(PASSWORD_VARIABLE, password)
    broker = Broker(tmp_path, "right")
    broker.start()
    reader = Reader(broker.port, "cam", "right")
    output = MqttOutput(f"mqtt://cam@127.0.0.1:{broker.port}/cam", "Cam", None, said.append)
    if lines:
        until(lambda: len(said) == 1)
        assert "not authorized" in said[0]
        assert password not in said[0]
    else:
        reader.wait("cam/availability", "online".__eq__)
        assert said == []
    output.close()
    reader.close()
    broker.kill()


@pytest.mark.parametrize("text", ["\n", " \nsecret\n", "\ufeff"])
def test_a_password_file_without_a_password_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="begins with an empty line"):
        outputs._secret(tmp_path / "password")


@needs_mosquitto
def test_who_dies_is_said_to_be_offline(broker: Broker) -> None:
    reader = Reader(broker.port)
    output = MqttOutput(f"mqtt://127.0.0.1:{broker.port}/cam", "Cam", None, lambda line: None)
    reader.wait("cam/availability", "online".__eq__)
    output.tell(Figures(source="reopening"))
    assert json.loads(reader.wait("cam/status"))["source"] == "reopening"
    connection = output._client.socket()
    assert connection is not None
    output._client.loop_stop()
    connection.close()  # As the kernel does for a process that was killed: no goodbye.
    reader.wait("cam/availability", "offline".__eq__)
    reader.close()


@pytest.mark.parametrize(
    ("uri", "field", "value"),
    [
        ("mqtt://host/a", "port", 1883),
        ("mqtts://host/a", "port", 8883),
        ("mqtt://host:99/a/b/", "topic", "a/b"),
        ("mqtt://me@host/a", "user", "me"),
        ("mqtt://host/a", "discovery", "homeassistant"),
        ("mqtt://host/a?discovery=", "discovery", ""),
        ("mqtt://host/a?rate=0", "rate", 0.0),
    ],
)
def test_addresses(uri: str, field: str, value: object) -> None:
    assert getattr(parse_address(uri), field) == value


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("mqtt://host", "is no MQTT address"),
        ("mqtt:///a", "is no MQTT address"),
        ("mqtt://host:x/a", "is no MQTT address"),
        ("mqtt://host/a/+/b", "is no MQTT address"),
        ("mqtt://host/a?discovery=a%2Bb", "the discovery prefix is 'a+b'"),
        ("mqtt://host/a?discovery=%23", "the discovery prefix is '#'"),
        ("http://host/a", "is no MQTT address"),
        ("mqtt://me:secret@host/a", PASSWORD_VARIABLE),
        ("mqtt://me:secret@host:x/a", "is no MQTT address"),
        ("mqtt://me:sec/secret@host/a", "is no MQTT address"),
        ("mqtt://host/a?qos=1", "unknown key 'qos'"),
        ("mqtt://host/a?rate=x", "the rate is 'x'"),
        ("mqtt://host/a?rate=nan", "the rate is 'nan'"),
    ],
)
def test_addresses_that_are_none(uri: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_address(uri)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)
