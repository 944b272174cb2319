"""Home Assistant's MQTT discovery: which sensors a session offers.

The format: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any


def entities(prefix: str, topic: str, name: str, shapes: list[tuple[str, str]]) -> dict[str, str]:
    """The discovery messages of a session.

    Args:
        prefix: Home Assistant's discovery prefix.
        topic: Beginning of the session's topics.
        name: What the device is called.
        shapes: Name and kind (``line`` or ``zone``) of each line and zone.

    Returns:
        JSON by topic; each is published retained, and taken back by an empty message.
    """
    device = f"edgewren_{_slug(topic)}"
    found: dict[str, str] = {}

    def add(component: str, part: str, title: str, state: str, template: str, **more: Any) -> None:
        document = {
            "name": title,
            "unique_id": f"{device}_{part}",
            "state_topic": f"{topic}/{state}",
            "value_template": template,
            "availability_topic": f"{topic}/availability",
            "device": {"identifiers": [device], "name": name, "manufacturer": "Edgewren"},
            **more,
        }
        found[f"{prefix}/{component}/{device}/{part}/config"] = json.dumps(document, ensure_ascii=False)

    def sensor(part: str, title: str, state: str, template: str, unit: str = "", **more: Any) -> None:
        more |= {"unit_of_measurement": unit} if unit else {}
        add("sensor", part, title, state, template, **more)

    sensor("objects", "Objects", "objects", "{{ value_json.total }}", state_class="measurement")
    diagnostic = {"entity_category": "diagnostic", "state_class": "measurement"}
    sensor("fps", "Frame rate", "status", "{{ value_json.fps }}", "frames/s", **diagnostic)
    sensor("latency", "Latency", "status", "{{ value_json.latency_ms }}", "ms", **diagnostic)
    heat = {"device_class": "temperature", **diagnostic}
    sensor("temperature", "Temperature", "status", "{{ value_json.temperature }}", "°C", **heat)
    for shape, kind in shapes:
        part = f"{kind}_{_slug(shape)}"
        value = f"value_json[{json.dumps(shape, ensure_ascii=False)}]"
        for key in ("in", "out"):
            total = f"{{{{ {value}['{key}'].values() | sum }}}}"
            sensor(f"{part}_{key}", f"{shape} {key}", "counts", total, state_class="total")
        if kind == "zone":
            inside = f"{value}['inside'].values() | sum"
            sensor(f"{part}_inside", f"{shape} inside", "counts", f"{{{{ {inside} }}}}", state_class="measurement")
            occupied = f"{{{{ 'ON' if {inside} > 0 else 'OFF' }}}}"
            add("binary_sensor", f"{part}_occupied", f"{shape} occupied", "counts", occupied, device_class="occupancy")
    return found


def _slug(text: str) -> str:
    """Letters, digits and underscores; different texts stay different."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    if plain == text:
        return plain
    return f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:6]}".lstrip("_")
