"""docs/events.md and docs/schema say what the code does."""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import jsonschema  # type: ignore[import-untyped]
import pytest
from bus_examples import event, examples, reference

from pipeline.bus.codec import (
    ARRAYS,
    KINDS,
    encode,
    event_from_json,
    event_to_json,
    head_hints,
    reference_from_json,
    reference_to_json,
)
from pipeline.bus.plain import hints_of
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.server import EmbeddedServer
from pipeline.bus.streams import REFERENCES, stream_key
from pipeline.types import EventKind, IdentityEvent, ReferenceFrame

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "events.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((DOCS / "schema" / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def head(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(fields[b"h"])
    return parsed


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_head_of_every_message_follows_its_schema(kind: str) -> None:
    check = validator(kind)
    example = head(encode(examples()[kind]))
    check.validate(example)
    for key in example:
        assert not check.is_valid({k: v for k, v in example.items() if k != key}), f"{key} may be left out"
        assert not check.is_valid({**example, key: {"no": "such"}}) or key == "counters"
    assert not check.is_valid({**example, "another": 1})


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_schema_has_exactly_the_keys_of_its_message(kind: str) -> None:
    properties = validator(kind).schema["properties"]
    assert set(properties) == {*head_hints(KINDS[kind]), "arrays"}
    described = {n: a["properties"]["dtype"]["const"] for n, a in properties["arrays"]["properties"].items()}
    assert described == {n: dtype for n, (dtype, _) in ARRAYS.get(KINDS[kind], {}).items()}


@pytest.mark.parametrize(("name", "kind"), [("identities.jsonl", IdentityEvent), ("references.jsonl", ReferenceFrame)])
def test_a_lines_schema_has_exactly_its_keys_in_order(name: str, kind: type) -> None:
    assert list(validator(name).schema["properties"]) == ["schema", *hints_of(kind)]


def test_lines_follow_their_schemas() -> None:
    events = validator("identities.jsonl")
    for message in (event(), IdentityEvent(1, "forgotten", 7, None, 1.0, 2.0)):
        events.validate(json.loads(event_to_json(message)))
    validator("references.jsonl").validate(json.loads(reference_to_json(reference())))


def test_the_page_shows_a_line_of_each_kind_of_event_exactly_as_it_is_written() -> None:
    lines = blocks("jsonl")[0].splitlines()
    check = validator("identities.jsonl")
    kinds = set()
    for number, line in enumerate(lines, 1):
        check.validate(json.loads(line))
        shown = event_from_json(line)
        assert event_to_json(shown) == line
        assert shown.sequence == number
        kinds.add(shown.kind)
    assert kinds == set(get_args(EventKind))


def test_the_page_shows_a_reference_line_exactly_as_it_is_written() -> None:
    (line,) = blocks("jsonl")[1].splitlines()
    validator("references.jsonl").validate(json.loads(line))
    assert reference_to_json(reference_from_json(line)) == line


def test_the_page_names_every_kind_of_message_with_its_schema() -> None:
    for kind in KINDS:
        assert f"| `{kind}` |" in PAGE
        assert f"(schema/{kind}.json)" in PAGE
    for link in re.findall(r"\]\((schema/[^)]+)\)", PAGE):
        assert (DOCS / link).exists()


def test_the_pages_subscriber_prints_re_entries_with_their_reference_frames(
    shared_server: EmbeddedServer, tmp_path: Path
) -> None:
    site = f"test-{uuid.uuid4().hex[:12]}"
    program = tmp_path / "subscriber.py"
    program.write_text(blocks("python")[0])
    assert len([line for line in program.read_text().splitlines() if line.strip()]) <= 25
    bus = RedisBus(shared_server.url, site)
    bus.publish(REFERENCES, reference(7))
    bus.receive(REFERENCES, "background-removal", 1.0)  # what came before is for another consumer of the group

    def run_until(lines: int) -> list[str]:
        command = [sys.executable, "-W", "error", str(program), shared_server.url, site]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            with process.stdout as out:
                return [out.readline().strip() for _ in range(lines)]
        finally:
            process.kill()
            process.wait()

    bus.publish(REFERENCES, ReferenceFrame("door", 9.0, "references/a.png", "references/a_mask.png", "entered", 5, "x"))
    bus.publish(REFERENCES, reference(8))
    bus.client.xadd(stream_key(site, REFERENCES), {b"v": b"99"})
    bus.publish(REFERENCES, reference(9))
    assert run_until(2) == [
        f"{n} door references/door_10.500.png references/door_10.500_mask.png {{1: {n}}}" for n in (8, 9)
    ]
    bus.publish(REFERENCES, reference(10))
    again = run_until(1)[0]
    assert again.split()[0] in ("9", "10")  # 9 only if the program was killed before it could acknowledge it
