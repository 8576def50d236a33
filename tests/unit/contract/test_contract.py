"""The contract: its form, the shipped files, and choosing from it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.contract import Contract, Nature, load
from harness.errors import ContractError
from harness.history.history import FunctionRecord
from harness.model import operation as words
from harness.model.fault import IncidentKind, Misbehaviour
from harness.model.kernel import KernelVersion
from harness.model.operation import Operation, config_read, reset
from harness.model.outcome import Outcome
from harness.model.pci import AccessPath, ResetMethod
from harness.model.promise import DeviceState, Promise, WindowKind
from harness.model.units import MS, SECOND
from tests.flip import flips

K61, K612, K70 = KernelVersion(6, 1, 192), KernelVersion(6, 12, 117), KernelVersion(7, 0, 0)
READ = config_read(AccessPath.SYSFS)

PROMISE = {
    "operation": '"config-read/sysfs"',
    "window": '"none"',
    "kernels": '["*"]',
    "platforms": '["*"]',
    "outcome": '"ok"',
    "source": '"here"',
}
ORACLE = {
    "platforms": '["*"]',
    "methods": '["flr"]',
    "resource": '"resource0"',
    "offset": "0x14",
    "width": "4",
    "marker": "1",
    "cleared": "0",
    "mask": "0xff",
    "source": '"here"',
}
VOLATILE = {
    "platforms": '["*"]',
    "capability": '"pcie"',
    "offset": "10",
    "width": "2",
    "mask": "1",
    "source": '"here"',
}
PLATFORM = {
    "word": '"toy"',
    "vendor": "0x1234",
    "device": "1",
    "nature": '"emulated"',
    "name": '"a toy"',
    "source": '"here"',
}
LOG = {"pattern": '"WARNING"', "class": '"warn"', "meaning": '"bad"', "source": '"here"'}


def entry(section: str, base: dict[str, str], **changes: str | None) -> str:
    """One entry as TOML; a value of None leaves the field out."""
    fields = {**base, **changes}
    lines = [f"{key} = {value}" for key, value in fields.items() if value is not None]
    return "\n".join([f"[[{section}]]", *lines, ""])


def function(platform: str = "toy", config: bytes = b"") -> FunctionRecord:
    return FunctionRecord(
        alias="dut", platform=platform, bdf="0000:01:00.0", vendor=0x1234, device=1, config_before=config
    )


def promise(
    text: str, operation: Operation = READ, *, kernel: KernelVersion = K612, platform: str = "toy"
) -> Promise | None:
    contract = Contract.read({"a.toml": text + entry("platform", PLATFORM)})
    return contract.terms(kernel, [function(platform)]).promise("dut", operation, WindowKind.NONE)


# form


@pytest.mark.parametrize(
    ("section", "base"),
    [("promise", PROMISE), ("oracle", ORACLE), ("volatile", VOLATILE), ("platform", PLATFORM), ("log", LOG)],
)
def test_every_field_is_needed_and_no_other_is_known(section: str, base: dict[str, str]) -> None:
    Contract.read({"a.toml": entry(section, base)})
    for field in base:
        if (section, field) == ("volatile", "offset"):
            continue  # left out it means the whole capability
        with pytest.raises(ContractError, match=rf"a\.toml.*field '{field}'.*missing"):
            Contract.read({"a.toml": entry(section, base, **{field: None})})
    with pytest.raises(ContractError, match=r"a\.toml.*field 'colour'.*unknown"):
        Contract.read({"a.toml": entry(section, base, colour='"red"')})


@pytest.mark.parametrize(
    ("section", "base", "field", "value"),
    [
        ("promise", PROMISE, "operation", '"config-read/telepathy"'),
        ("promise", PROMISE, "window", '"ajar"'),
        ("promise", PROMISE, "kernels", '["six"]'),
        ("promise", PROMISE, "kernels", "[]"),
        ("promise", PROMISE, "kernels", '"*"'),
        ("promise", PROMISE, "platforms", '["*", "igb"]'),
        ("promise", PROMISE, "outcome", '"fine"'),
        ("promise", PROMISE, "outcome", '"blocked"'),
        ("promise", PROMISE, "at_most", '"soon"'),
        ("promise", PROMISE, "at_most", "5"),
        ("promise", PROMISE, "state", '"cleared"'),
        ("promise", PROMISE, "config", '"lost"'),
        ("promise", PROMISE, "source", '" "'),
        ("promise", PROMISE, "weakness", '""'),
        ("promise", PROMISE, "faults", '["bad-mood"]'),
        ("promise", PROMISE, "faults", '["not-ready", "bad-mood"]'),
        ("promise", PROMISE, "faults", '"not-ready"'),
        ("promise", PROMISE, "faults", "[]"),
        ("promise", PROMISE, "lockdown", '"secure-boot"'),
        ("promise", PROMISE, "lockdown", '["integrity", "secure-boot"]'),
        ("promise", PROMISE, "lockdown", "[]"),
        ("oracle", ORACLE, "methods", '["hammer"]'),
        ("oracle", ORACLE, "resource", '"config"'),
        ("oracle", ORACLE, "width", "3"),
        ("oracle", ORACLE, "offset", "0x13"),
        ("oracle", ORACLE, "marker", "0x100"),
        ("oracle", ORACLE, "mask", "0"),
        ("oracle", ORACLE, "mask", "true"),
        ("volatile", VOLATILE, "capability", '"hat"'),
        ("volatile", VOLATILE, "width", "3"),
        ("volatile", VOLATILE, "mask", "0x10000"),
        ("volatile", VOLATILE, "only_if", "{ offset = 2 }"),
        ("volatile", VOLATILE, "layout", "2"),
        ("platform", PLATFORM, "word", '"*"'),
        ("platform", PLATFORM, "vendor", "0x10000"),
        ("platform", PLATFORM, "nature", '"ethereal"'),
        ("log", LOG, "pattern", '"("'),
        ("log", LOG, "pattern", '"(?P<colour>red)"'),
        ("log", LOG, "class", '"odd"'),
    ],
)
def test_a_wrong_value_is_refused_with_file_entry_and_field(
    section: str, base: dict[str, str], field: str, value: str
) -> None:
    with pytest.raises(ContractError) as caught:
        Contract.read({"odd.toml": entry(section, base, **{field: value})})
    assert "odd.toml" in str(caught.value)
    assert f"{field}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bounds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ContractError, match="at_least"):
        Contract.read({"a.toml": entry("promise", PROMISE, at_least='"2s"', at_most='"1s"')})


@pytest.mark.parametrize("text", ["x = 1", "[promise]\nx = 1", "[[promises]]\nx = 1", "= ="])
def test_a_file_that_is_no_contract_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match=r"a\.toml"):
        Contract.read({"a.toml": text})


def test_a_platform_that_nobody_describes_is_refused() -> None:
    with pytest.raises(ContractError, match="'toy' is described nowhere"):
        Contract.read({"a.toml": entry("promise", PROMISE, platforms='["toy"]')})


# overlap and precedence


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ('["*"]', '["6.12"]', True),
        ('["6.10+"]', '["7.0"]', True),
        ('["6.12.107+"]', '["6.12.-110"]', True),
        ('["6.12.-106"]', '["6.12.107+"]', False),
        ('["6.1"]', '["6.10+"]', False),
        ('["6.1", "6.6"]', '["6.6.40+"]', True),
        ('["6.12.5+"]', '["6.13+"]', False),
    ],
)
def test_two_entries_with_the_same_right_must_not_overlap(one: str, other: str, *, clash: bool) -> None:
    text = entry("promise", PROMISE, kernels=one) + entry("promise", PROMISE, kernels=other)
    if clash:
        with pytest.raises(ContractError, match="both speak of"):
            Contract.read({"a.toml": text})
    else:
        Contract.read({"a.toml": text})


@pytest.mark.parametrize("turned", [False, True])
def test_a_named_platform_wins_over_all_platforms(*, turned: bool) -> None:
    entries = [entry("promise", PROMISE), entry("promise", PROMISE, platforms='["toy"]', outcome='"EIO"')]
    text = "".join(reversed(entries) if turned else entries)
    named, other = promise(text), promise(text, platform="unknown")
    assert named is not None
    assert other is not None
    assert (named.outcome, other.outcome) == (Outcome.EIO, Outcome.OK)


def test_kernels_choose_between_entries() -> None:
    text = entry("promise", PROMISE, kernels='["6.1"]') + entry(
        "promise", PROMISE, kernels='["6.12"]', outcome='"EIO"'
    )
    found = [promise(text, kernel=kernel) for kernel in (K61, K612, K70)]
    assert [p and p.outcome for p in found] == [Outcome.OK, Outcome.EIO, None]


def test_a_list_of_windows_makes_a_promise_for_each() -> None:
    contract = Contract.read({"a.toml": entry("promise", PROMISE, window='["none", "device-lock"]')})
    assert [(p.id, p.window) for p in contract.promises] == [
        ("config-read/sysfs@none", WindowKind.NONE),
        ("config-read/sysfs@device-lock", WindowKind.DEVICE_LOCK),
    ]
    for wrong in ("[]", '["ajar"]', '["none", "none"]'):
        with pytest.raises(ContractError, match="window"):
            Contract.read({"a.toml": entry("promise", PROMISE, window=wrong)})
    with pytest.raises(ContractError, match="both speak of"):
        Contract.read(
            {
                "a.toml": entry("promise", PROMISE, window='["none", "device-lock"]')
                + entry("promise", PROMISE)
            }
        )


@pytest.mark.parametrize(
    ("window", "wider"),
    [
        (WindowKind.SRIOV, WindowKind.CONFIG_LOCK),
        (WindowKind.UNBIND, WindowKind.DEVICE_LOCK),
        (WindowKind.PORT_LOCK, WindowKind.NONE),
        (WindowKind.DEVICE_LOCK, None),
    ],
)
def test_a_window_without_an_entry_falls_back(window: WindowKind, wider: WindowKind | None) -> None:
    assert window.wider is wider
    text = entry("promise", PROMISE, window=f'"{wider or window}"')
    contract = Contract.read({"a.toml": text + entry("platform", PLATFORM)})
    found = contract.terms(K612, [function()]).promise("dut", READ, window)
    assert found is not None
    assert found.window is (wider or window)


# what goes wrong


def of_faults(*words: str, **changes: str) -> str:
    listed = ", ".join(f'"{word}"' for word in words)
    return entry("promise", PROMISE, faults=f"[{listed}]", **changes)


def staged(text: str, *wrongs: str, platform: str = "toy") -> Promise | None:
    """What is promised for a function with which that is staged to go wrong, when the other one behaves."""
    contract = Contract.read({"a.toml": text + entry("platform", PLATFORM)})
    other = replace(function(platform), alias="other")
    terms = contract.terms(
        K612, [function(platform), other], {"dut": frozenset(wrongs), "other": frozenset()}.__getitem__
    )
    well = terms.promise("other", READ, WindowKind.NONE)
    assert well is None or not well.faults
    return terms.promise("dut", READ, WindowKind.NONE)


@pytest.mark.parametrize("word", [*Misbehaviour, *IncidentKind])
def test_an_entry_may_speak_of_each_thing_that_goes_wrong(word: str) -> None:
    (one,) = Contract.read({"a.toml": of_faults(word)}).promises
    assert (one.faults, one.id) == ((word,), f"config-read/sysfs@none!{word}")


def test_an_id_tells_what_must_go_wrong() -> None:
    text = of_faults("not-ready", "unplugged", platforms='["toy"]', kernels='["6.12"]')
    (one,) = Contract.read({"a.toml": text + entry("platform", PLATFORM)}).promises
    assert one.id == "config-read/sysfs@none!not-ready+unplugged:toy (6.12)"


@pytest.mark.parametrize("turned", [False, True])
def test_what_goes_wrong_wins_over_platforms_and_over_all(*, turned: bool) -> None:
    entries = [
        entry("promise", PROMISE),
        entry("promise", PROMISE, platforms='["toy"]', outcome='"EIO"'),
        of_faults("never-ready", outcome='"ENOTTY"'),
    ]
    text = "".join(reversed(entries) if turned else entries)
    for wrongs, outcome in (
        ((), Outcome.EIO),
        (("interrupt-storm",), Outcome.EIO),
        (("never-ready",), Outcome.ENOTTY),
        (("interrupt-storm", "never-ready"), Outcome.ENOTTY),
    ):
        found = staged(text, *wrongs)
        assert found is not None
        assert found.outcome is outcome
    elsewhere = staged(text, "never-ready", platform="unknown")
    assert elsewhere is not None
    assert elsewhere.outcome is Outcome.ENOTTY


@pytest.mark.parametrize("turned", [False, True])
def test_a_named_platform_wins_among_entries_of_what_goes_wrong(*, turned: bool) -> None:
    entries = [
        of_faults("never-ready"),
        of_faults("unplugged", platforms='["toy"]', outcome='"EIO"'),
    ]
    found = staged("".join(reversed(entries) if turned else entries), "never-ready", "unplugged")
    assert found is not None
    assert found.outcome is Outcome.EIO


def test_an_entry_of_what_goes_wrong_says_nothing_of_who_behaves() -> None:
    assert staged(of_faults("never-ready")) is None
    assert staged(of_faults("never-ready"), "not-ready") is None
    assert staged(of_faults("never-ready", "not-ready"), "not-ready") is not None


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (("not-ready",), ("not-ready",), True),
        (("not-ready", "unplugged"), ("unplugged",), True),
        (("not-ready",), ("unplugged",), False),
        (("not-ready",), (), False),
    ],
)
def test_entries_of_the_same_fault_must_not_overlap(
    one: tuple[str, ...], other: tuple[str, ...], *, clash: bool
) -> None:
    text = of_faults(*one) + (of_faults(*other) if other else entry("promise", PROMISE))
    if clash:
        with pytest.raises(ContractError, match="both speak of"):
            Contract.read({"a.toml": text})
    else:
        assert len(Contract.read({"a.toml": text}).promises) == 2
    if clash:
        apart = text.replace('kernels = ["*"]', 'kernels = ["6.1"]', 1).replace(
            '["*"]\nplat', '["6.12"]\nplat'
        )
        assert len(Contract.read({"a.toml": apart}).promises) == 2


# volatile bits


def test_bits_are_found_by_capability() -> None:
    config = bytearray(256)
    config[0x06], config[0x34] = 0x10, 0x50
    config[0x50:0x54] = bytes.fromhex("10600000")
    config[0x60:0x64] = bytes.fromhex("09000600")
    unrestored = entry("unrestored", VOLATILE, capability='"vendor"', offset=None, width=None, mask=None)
    header = entry("volatile", VOLATILE, capability='"header"', offset="6")
    contract = Contract.read({"a.toml": entry("volatile", VOLATILE) + header + unrestored})
    terms = contract.terms(K612, [function(config=bytes(config))])
    assert [(f.offset, f.width, f.value) for f in terms.volatile] == [(0x5A, 2, 1), (6, 2, 1)]
    assert [(f.offset, f.width, f.value) for f in terms.unrestored] == [(0x60 + n, 1, 0xFF) for n in range(6)]
    assert contract.terms(K612, [function()]).volatile == ()


@pytest.mark.parametrize(("control", "offset"), [(0x0000, None), (0x0100, 0x60), (0x0180, 0x64)])
def test_msi_pending_bits_move_with_the_control_word(control: int, offset: int | None) -> None:
    config = bytearray(256)
    config[0x06], config[0x34] = 0x10, 0x50
    config[0x50:0x54] = bytes([0x05, 0, *control.to_bytes(2, "little")])
    volatile = load().terms(K612, [function("nvme", bytes(config))]).volatile
    assert [f.offset for f in volatile if f.width == 4] == ([] if offset is None else [offset])


# the shipped contract


def test_every_shipped_entry_names_its_source() -> None:
    contract = load()
    sources = [
        *(promise.source for promise in contract.promises),
        *(oracle.source for oracle in contract.oracles),
        *(field.source for field in contract.volatile),
        *(rule.source for rule in contract.log_rules),
    ]
    assert all(
        re.search(r"Linux|PCI|QEMU|NVM|Virtual I/O|as for|82|lab/models/", source) for source in sources
    )


def test_ids_are_unique() -> None:
    ids = [p.id for p in load().promises]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("kernel", [K61, K612, K70])
@pytest.mark.parametrize("window", WindowKind)
def test_what_this_slice_stages_is_promised(kernel: KernelVersion, window: WindowKind) -> None:
    contract = load()
    terms = contract.terms(kernel, [function("igb")])
    for operation in [
        *(config_read(path) for path in AccessPath),
        Operation("attribute-read/sysfs"),
        Operation("config-write/sysfs"),
        Operation("config-write/flr-bit"),
        *(reset(ResetMethod(m)) for m in ("flr", "pm", "bus", "af_flr", "device_specific")),
    ]:
        assert terms.promise("dut", operation, window) is not None, operation


CALLS = [
    *(words.VFIO_RESET, words.VFIO_FLR_BIT, words.HOT_RESET, words.SUBORDINATE_RESET),
    *(words.HOT_RESET_NOT_OWNED, words.HOT_RESET_IMPOSSIBLE),
    *(words.VFIO_OPEN, words.VFIO_REOPEN, words.VFIO_CLOSE, words.VFIO_DROP, words.UNPRIVILEGED_OPEN),
    *(words.UNBIND, words.BIND, words.OVERRIDE, words.ENABLE_VFS, words.DISABLE_VFS),
    *(words.REMOVE, words.RESCAN, words.HOLD_BOTH),
]


@pytest.mark.parametrize("kernel", [K61, K612, K70])
@pytest.mark.parametrize("window", WindowKind)
def test_every_call_is_promised_in_every_window(kernel: KernelVersion, window: WindowKind) -> None:
    terms = load().terms(kernel, [function("igb")])
    assert [call for call in CALLS if terms.promise("dut", call, window) is None] == []


@pytest.mark.parametrize(
    ("operation", "window", "on_61", "on_612", "on_70"),
    [
        ("reset/flr", WindowKind.PORT_LOCK, "ok", "blocked-and-reset", "blocked-and-reset"),
        ("close/vfio", WindowKind.PORT_LOCK, "ok", "skipped", "skipped"),
        ("reset/hot", WindowKind.PORT_LOCK, "EAGAIN", "EAGAIN", "EAGAIN"),
        ("driver/override", WindowKind.DEVICE_LOCK, "blocked", "ok", "ok"),
        ("driver/override", WindowKind.SYSFS_RESET, "blocked", "ok", "ok"),
        ("driver/override", WindowKind.CONFIG_LOCK, "ok", "ok", "ok"),
        ("port-lock/bus", WindowKind.NONE, "free", "locked", "locked"),
        ("port-lock/vfio", WindowKind.NONE, "free", "free", "free"),
        ("port-lock/vfio-close", WindowKind.NONE, "free", "locked", "locked"),
        ("port-lock/hot", WindowKind.NONE, "locked", "locked", "locked"),
    ],
)
def test_kernels_differ(operation: str, window: WindowKind, on_61: str, on_612: str, on_70: str) -> None:
    contract = load()
    found = [
        contract.terms(kernel, [function("igb")]).promise("dut", Operation(operation), window)
        for kernel in (K61, K612, K70)
    ]
    assert [p and str(p.outcome) for p in found] == [on_61, on_612, on_70]


@pytest.mark.parametrize("platform", ["igb", "e1000e", "virtio-rng"])
def test_pm_clears_nothing_in_qemus_models(platform: str) -> None:
    found = load().terms(K612, [function(platform)]).promise("dut", reset(ResetMethod.PM), WindowKind.NONE)
    assert found is not None
    assert (found.state, bool(found.weakness)) == (DeviceState.KEPT, True)
    elsewhere = (
        load().terms(K612, [function("unknown")]).promise("dut", reset(ResetMethod.PM), WindowKind.NONE)
    )
    assert elsewhere is not None
    assert (elsewhere.state, elsewhere.weakness) == (DeviceState.CLEARED, None)


def test_a_real_flr_takes_100_ms_and_an_emulated_one_no_more_than_a_second() -> None:
    found = load().terms(K612, [function("nvme")]).promise("dut", reset(ResetMethod.FLR), WindowKind.NONE)
    assert found is not None
    assert (found.at_least, found.at_most) == (80 * MS, SECOND)
    real = load().terms(K612, [function("unknown")]).promise("dut", reset(ResetMethod.FLR), WindowKind.NONE)
    assert real is not None
    assert real.at_least == 100 * MS


def test_platforms_are_known_by_identity_and_nature() -> None:
    contract = load()
    ids = {
        (0x8086, 0x10C9): "igb",
        (0x8086, 0x10D3): "e1000e",
        (0x1B36, 0x10): "nvme",
        (0x1AF4, 0x1044): "virtio-rng",
    }
    for (vendor, device), word in ids.items():
        assert contract.platform(vendor, device, Nature.EMULATED) == word
        assert contract.platform(vendor, device, Nature.PHYSICAL) == "unknown"
    assert contract.platform(0xDEAD, 0xBEEF, Nature.EMULATED) == "unknown"


def test_oracles_are_known_by_platform_and_method() -> None:
    contract = load()
    assert contract.oracle("edu", ResetMethod.BUS) is None
    assert contract.oracle("e1000e", ResetMethod.FLR) is None
    found = contract.oracle("nvme", ResetMethod.FLR)
    assert found is not None
    assert found.on("disk").function == "disk"


# lockdown


def of_lockdown(state: str, **changes: str) -> str:
    return entry("promise", PROMISE, lockdown=state, outcome='"EPERM"', **changes)


@pytest.mark.parametrize(
    ("state", "outcome", "perhaps"),
    [
        ("none", Outcome.OK, None),
        ("integrity", Outcome.EPERM, None),
        ("confidentiality", Outcome.OK, None),
        ("unreadable: Permission denied", Outcome.OK, Outcome.EPERM),
    ],
)
def test_an_entry_for_a_kernel_that_is_locked_down_wins_there_and_applies_nowhere_else(
    state: str, outcome: Outcome, perhaps: Outcome | None
) -> None:
    both = '["integrity", "confidentiality"]' if perhaps else '"integrity"'
    text = of_lockdown(both) + entry("promise", PROMISE, platforms='["toy"]') + entry("platform", PLATFORM)
    text += of_faults("not-ready", outcome='"EIO"')
    chosen = Contract.read({"a.toml": text}).terms(K612, [function()], lockdown=state)
    promise = chosen.promise("dut", READ, WindowKind.NONE)
    assert promise is not None
    assert promise.outcome is outcome
    other = chosen.if_locked_down("dut", READ, WindowKind.NONE)
    assert (other.outcome if other else None) is perhaps


def test_two_entries_for_one_state_of_lockdown_contradict_each_other() -> None:
    Contract.read({"a.toml": of_lockdown('"integrity"') + of_lockdown('"confidentiality"')})
    with pytest.raises(ContractError, match="both speak of"):
        Contract.read(
            {"a.toml": of_lockdown('"integrity"') + of_lockdown('["integrity", "confidentiality"]')}
        )


# flips


def test_a_flip_changes_one_claim_of_one_entry() -> None:
    contract = load()
    found = list(flips(contract))
    assert len({name for name, _ in found}) == len(found)
    for name, flipped in found:
        changed = [(a, b) for a, b in zip(contract.promises, flipped.promises, strict=True) if a != b]
        assert [a.id for a, _ in changed] == [name.rpartition("#")[0]]


def test_every_claim_is_flipped() -> None:
    contract = load()
    claims = {name for name, _ in flips(contract)}
    for p in contract.promises:
        for claim in ("outcome", "at_least", "at_most", "state", "config"):
            assert (f"{p.id}#{claim}" in claims) is (getattr(p, claim) is not None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no entry"),
        (b"# nothing\n", "holds no entry"),
        (b"\xff\xfe", "no UTF-8"),
        (b"x = " + b"[" * 50_000, "no TOML"),
        (b"x = " + b"9" * 5_000, "no TOML"),
        (b"#" * 300_000, "at most 262,144 are taken"),
        (b"[" + b"a." * 500 + b"a]", "at most 64 are taken"),
        (b"[[promise]]\nkernels = [[1]]\noperation = 7\n", "field 'operation'"),
        (b'[[log]]\npattern = "(?i)x"\n', ""),
        (b'[[log]]\npattern = "(?P=x)"\n', "field 'pattern'"),
        (b'[[log]]\npattern = "a{99999999999}"\n', "field 'pattern'"),
    ],
    ids=lambda value: ascii(value[:20]),
)
def test_a_file_that_cannot_be_one_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_bytes(content)
    with pytest.raises(ContractError, match=r"contract file odd\.toml") as refused:
        load(tmp_path)
    assert said in str(refused.value)


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no file"):
        load(tmp_path)
    (tmp_path / "odd.toml").mkdir()
    with pytest.raises(ContractError, match=r"odd\.toml: no regular file"):
        load(tmp_path)


@pytest.mark.parametrize("means", [words.BAR_READ, words.MAPPED_READ, words.SYSFS_MAPPED_READ])
def test_while_decode_is_off_every_emulated_register_reads_as_zero(means: Operation) -> None:
    """QEMU answers for what nothing is mapped to, whoever serves the function (found by random plans)."""
    without_registers = {"root-port", "hil-chain"}
    emulated = {one.word for one in load().platforms if one.nature is Nature.EMULATED} - without_registers
    promised = {
        platform
        for one in load().promises
        for platform in one.platforms
        if (one.operation, one.window, one.outcome) == (means, WindowKind.SYSFS_RESET, Outcome.ZERO)
    }
    assert promised == emulated
