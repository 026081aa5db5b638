import pytest

from pipeline.bus import streams


def test_keys_hold_the_site_as_hash_tag() -> None:
    assert streams.stream_key("lobby", streams.CLIPS) == "mcp:{lobby}:clips"
    assert streams.stream_key("lobby", streams.IDENTITIES) == "mcp:{lobby}:identities"
    assert streams.stream_key("lobby", streams.REFERENCES) == "mcp:{lobby}:references"
    assert streams.stream_key("lobby", streams.HEALTH) == "mcp:{lobby}:health"
    assert streams.stream_key("lobby", streams.tracks("door")) == "mcp:{lobby}:tracks:door"
    assert streams.preview_key("lobby", "door") == "mcp:{lobby}:preview:door"
    assert streams.state_key("lobby", "matcher") == "mcp:{lobby}:state:matcher"


@pytest.mark.parametrize("name", ["", "a b", "a}b", "a:b", "../x", "x" * 65, "ü"])
def test_a_name_that_could_be_another_key_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="site"):
        streams.stream_key(name, streams.CLIPS)
    with pytest.raises(ValueError, match="camera id"):
        streams.tracks(name)
    with pytest.raises(ValueError, match="camera id"):
        streams.preview_key("lobby", name)


def test_short_lived_streams_are_short_and_not_spooled() -> None:
    assert streams.stream_limit(streams.CLIPS, 20_000) == 20_000
    assert streams.stream_limit(streams.tracks("door"), 20_000) < 1_000
    assert streams.stream_limit(streams.tracks("door"), 10) == 10
    assert [s for s in (streams.CLIPS, streams.HEALTH, streams.tracks("door")) if streams.is_ephemeral(s)] == [
        "health",
        "tracks:door",
    ]
