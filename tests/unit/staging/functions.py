"""Functions as a lab describes them, and what the agent makes of their verbs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.agent.files import Files
from harness.agent.program import compile_actor
from harness.bindings.actor import Code, Instruction
from harness.model.pci import Bdf, ResetMethod
from harness.model.plan import Actor, Oracle, Plan
from harness.pci import sysfs
from harness.staging.function import Function, Traits
from harness.staging.part import Part, plan_of

ORACLE = Oracle(
    function="igb0",
    resource="resource0",
    offset=0x5B50,
    width=4,
    marker=0x5A,
    cleared=0,
    mask=0xFF,
    source="measured",
)


def described(alias: str, **traits: Any) -> Function:
    """A function of which the target would say this."""
    return Function(alias, lambda: Traits(**traits))


IGB = described(
    "igb0",
    platform="igb",
    bdf=Bdf.parse("0000:01:00.0"),
    reset_methods=(ResetMethod.FLR, ResetMethod.PM),
    config_bytes=4096,
    express=0xA0,
    device_control=0x2810,
    oracles={ResetMethod.FLR: ORACLE},
)
SIBLING = described(
    "igb1",
    platform="igb",
    bdf=Bdf.parse("0000:01:00.1"),
    reset_methods=(ResetMethod.FLR,),
    config_bytes=4096,
)
PORT = described(
    "igb0.port",
    platform="root-port",
    bdf=Bdf.parse("0000:00:02.0"),
    reset_methods=(ResetMethod.PM,),
    config_bytes=4096,
    express=0x54,
)
CONVENTIONAL = described(
    "old0", platform="unknown", bdf=Bdf.parse("0000:02:01.0"), reset_methods=(), config_bytes=256
)

ADDRESSES = {one.alias: one.bdf for one in (IGB, SIBLING, PORT, CONVENTIONAL)}
FOLDER: Path = sysfs.DEVICES / str(IGB.bdf)


def only(part: Part) -> Actor:
    """The only actor of a part."""
    (actor,) = part.actors
    return actor


def as_sent(part: Part) -> Plan:
    """A part as the plan that reaches the agent, through the JSON in which it travels."""
    plan = plan_of([part], title="t", lasting="60s")
    return Plan.from_json(json.loads(json.dumps(plan.to_json())))


def compiled(part: Part) -> list[Instruction]:
    """What the loop of a part's first actor is told."""
    plan = as_sent(part)
    with Files(plan, ADDRESSES) as files:
        return compile_actor(plan.actors[0], files)


def opened(part: Part) -> list[tuple[str, int]]:
    """Paths and flags of what a part's first actor opens before it begins."""
    return [(one.data.decode(), one.width) for one in compiled(part) if one.op is Code.OPEN]


def repeated(part: Part) -> list[Instruction]:
    """The instructions that are repeated."""
    program = compiled(part)
    return program[program[-1].slot : -1]
