"""The bus: messages, their wire form, and who carries them (Redis Streams, memory)."""
