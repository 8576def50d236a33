"""Plugging: which commands QEMU is given, and when a model is there.  A socket stands in for QEMU's monitor."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import GuestError, UsageError
from harness.lab.guest.slots import Slots
from harness.lab.qemu.machine import Device, EmulatedFunction, Machine, Placement, served_function
from harness.lab.qemu.qmp import Monitor

DEADLINE_S = 30.0
REFUSED = "refused0"

MACHINE = Machine(
    functions=(
        EmulatedFunction(alias="edu0", model="edu", placement=Placement.HOT_PLUG),
        EmulatedFunction(
            alias="nvme0",
            model="nvme",
            placement=Placement.HOT_PLUG,
            after=(Device(alias="disk0", model="nvme-ns", properties={"bus": "nvme0"}),),
        ),
        EmulatedFunction(alias=REFUSED, model="edu", placement=Placement.HOT_PLUG),
        served_function("duo0", "endpoint-of-two", port="duo"),
        served_function("duo1", "endpoint-of-two", port="duo", function_number=1),
        served_function("nobody0", "no-such-model"),
    )
)


class Qemu:
    """What hears the commands: it takes all of them but one."""

    def __init__(self, path: Path) -> None:
        self.plugged: list[dict[str, Any]] = []
        self.listening: list[bool] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def end(self) -> None:
        self._thread.join(DEADLINE_S)
        self._listener.close()

    def _answer(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            version = {"qemu": {"major": 11, "minor": 1, "micro": 3}, "package": ""}
            _send(connection, {"QMP": {"version": version, "capabilities": []}})
            while heard := connection.recv(1 << 16):  # the client waits for each answer
                request = json.loads(heard)
                _send(connection, {**self._done(request), "id": request.get("id")})

    def _done(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["execute"] == "device_add":
            device = request["arguments"]
            self.plugged.append(device)
            if "socket" in device:
                self.listening.append(Path(device["socket"]["path"]).is_socket())
            if device["id"] == REFUSED:
                return {"error": {"class": "GenericError", "desc": "no room"}}
        return {"return": {}}


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\r\n")


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[Qemu]:
    one = Qemu(tmp_path / "qmp")
    yield one
    one.end()


@pytest.fixture
def slots(
    qemu: Qemu,  # noqa: ARG001 - it listens
    tmp_path: Path,
) -> Iterator[Slots]:
    monitor = Monitor("a guest")
    monitor.connect(tmp_path / "qmp", DEADLINE_S)
    one = Slots(MACHINE, monitor, tmp_path)
    yield one
    one.close()
    monitor.close()


def names(qemu: Qemu) -> list[str]:
    return [device["id"] for device in qemu.plugged]


def test_what_belongs_to_a_function_is_plugged_after_it(slots: Slots, qemu: Qemu) -> None:
    slots.plug("nvme0")
    assert qemu.plugged == [
        {"driver": "nvme", "id": "nvme0", "bus": "port.nvme0", "addr": "0.0"},
        {"driver": "nvme-ns", "id": "disk0", "bus": "nvme0"},
    ]
    assert slots.served == {}


def test_plugging_twice_plugs_once(slots: Slots, qemu: Qemu) -> None:
    slots.plug("edu0")
    slots.plug("edu0")
    assert names(qemu) == ["edu0"]


def test_those_who_share_a_port_come_together_function_0_last(slots: Slots, qemu: Qemu) -> None:
    slots.plug("duo0")
    assert names(qemu) == ["duo1", "duo0"]
    slots.plug("duo1")
    assert names(qemu) == ["duo1", "duo0"]
    assert set(slots.served) == {"duo0", "duo1"}


def test_a_model_listens_before_qemu_is_told_and_ends_at_the_close(slots: Slots, qemu: Qemu) -> None:
    slots.plug("duo0")
    assert qemu.listening == [True, True]
    pids = [one.process.pid for one in slots.served.values()]
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    slots.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    slots.close()  # a second time does nothing


def test_an_unknown_function_names_the_known_ones(slots: Slots, qemu: Qemu) -> None:
    with pytest.raises(UsageError, match="edu0"):
        slots.plug("edu9")
    assert qemu.plugged == []


def test_a_refusal_is_an_error_in_qemus_words(slots: Slots) -> None:
    with pytest.raises(GuestError, match=r"device_add.*no room"):
        slots.plug(REFUSED)


def test_a_model_that_does_not_start_is_plugged_nowhere(slots: Slots, qemu: Qemu) -> None:
    with pytest.raises(GuestError, match="no-such-model"):
        slots.plug("nobody0")
    assert (qemu.plugged, slots.served) == ([], {})
