"""An RTSP/1.0 server with fault injection for tests: H.264 over interleaved TCP or UDP, from one or two clips.

    server = FaultyRtsp("a.mp4").start()
    server.url                         # rtsp://127.0.0.1:<port>/cam
    server.fault.update(stall=True)    # takes effect at the next picture or request
    server.kill()                      # every connection is cut; new ones are welcome
    server.stop(); server.restart()    # the camera is gone; it is back on the same port

Faults (keys of `fault`):
    no_reply: requests are read and never answered.     slow_open: seconds before DESCRIBE is answered.
    status: "404 Not Found" and the like for everything. tcp_only: UDP is refused with 461.
    stall: True sends nothing.                          freeze: True sends one key frame again and again.
    clip: 0 or 1, which clip is sent.                   drop, corrupt: share of RTP packets lost or with a flipped byte.
    ts_jump: 90 kHz ticks added once.                   ts_const: True holds the time stamps.
"""

import asyncio
import base64
import contextlib
import random
import socket
import struct
import threading
from pathlib import Path
from typing import Any, TypeAlias

import av

PAYLOAD_BYTES = 1400  # of one RTP packet: below the usual 1500 byte Ethernet MTU
RTP_HZ = 90_000  # RFC 6184: the clock of H.264 over RTP
BACKLOG_BYTES = 8 << 20  # a client that is this far behind is dropped
PARAMETER_SETS = (7, 8)  # NAL unit types SPS and PPS

AccessUnit: TypeAlias = tuple[list[bytes], bool]  # the NAL units of one picture; whether it is a key frame


def read_access_units(path: str | Path) -> list[AccessUnit]:
    """The pictures of an H.264 clip, in order, without start codes."""
    units = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        annexb = av.bitstream.BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            if packet.size:
                units += [(split_annexb(bytes(p)), bool(p.is_keyframe)) for p in annexb.filter(packet)]
    return units


def split_annexb(stream: bytes) -> list[bytes]:
    """The NAL units between the start codes of a byte stream."""
    starts = []
    at = stream.find(b"\0\0\1")
    while at >= 0:
        starts.append(at + 3)
        at = stream.find(b"\0\0\1", at + 3)
    ends = [start - 3 for start in starts[1:]] + [len(stream)]
    return [stream[a:b] if b == len(stream) else stream[a:b].rstrip(b"\0") for a, b in zip(starts, ends, strict=True)]


def fragments(nal: bytes) -> list[bytes]:
    """The RTP payloads of one NAL unit: itself, or FU-A fragments (RFC 6184, section 5.8)."""
    if len(nal) <= PAYLOAD_BYTES:
        return [nal]
    head, body = nal[0], nal[1:]
    chunks = [body[at : at + PAYLOAD_BYTES] for at in range(0, len(body), PAYLOAD_BYTES)]
    payloads = []
    for i, chunk in enumerate(chunks):
        edge = (0x80 if i == 0 else 0) | (0x40 if i == len(chunks) - 1 else 0)
        payloads.append(bytes([(head & 0x60) | 28, (head & 31) | edge]) + chunk)
    return payloads


class Client:
    """One connection: its writer, and the UDP socket when it asked for UDP."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.udp: socket.socket | None = None
        self.udp_to = ("", 0)
        self.sender: asyncio.Task[None] | None = None

    def reply(self, request: dict[str, str], code: str = "200 OK", head: str = "", body: str = "") -> None:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.writer.write(f"RTSP/1.0 {code}\r\nCSeq: {request.get('cseq', '0')}\r\n{head}{length}\r\n{body}".encode())

    def send(self, packet: bytes) -> bool:
        """Whether the client keeps up."""
        if self.udp:
            self.udp.sendto(packet, self.udp_to)
            return True
        self.writer.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
        return self.writer.transport.get_write_buffer_size() <= BACKLOG_BYTES

    def close(self) -> None:
        if self.sender:
            self.sender.cancel()
        if self.udp:
            self.udp.close()
        self.writer.close()


class ClipReader:
    """Chooses the next picture to send, with the faults that concern pictures and their time stamps."""

    def __init__(self, clips: list[list[AccessUnit]], fps: float) -> None:
        self._clips = clips
        self._step = int(RTP_HZ // fps)
        self._at = 0
        self._clip = 0
        self._held: list[bytes] | None = None
        self.stamp = random.randrange(1 << 31)

    def next(self, fault: dict[str, Any]) -> list[bytes]:
        """The NAL units of the next picture; `stamp` is its RTP time."""
        wanted = fault.get("clip", 0) % len(self._clips)
        if wanted != self._clip:
            self._clip, self._at = wanted, 0
        clip = self._clips[self._clip]
        if fault.get("freeze"):
            self._held = self._held or next(units for units, key in clip if key)
            units = self._held
        else:
            self._held = None
            units = clip[self._at % len(clip)][0]
            self._at += 1
        step = 0 if fault.get("ts_const") else self._step
        self.stamp = (self.stamp + step + fault.pop("ts_jump", 0)) & 0xFFFFFFFF
        return units


class FaultyRtsp:
    """The server, on its own thread with its own event loop.

    Args:
        path, path2: H.264 clips without B-frames, sent in a loop.
        auth: "user:password" for basic authentication.
    """

    def __init__(
        self,
        path: str | Path,
        port: int = 0,
        fps: float = 25,
        path2: str | Path | None = None,
        auth: str | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.clips = [read_access_units(p) for p in (path, path2) if p]
        self.fps = fps
        self.auth = auth
        self.host = host
        self.port = port
        self.fault: dict[str, Any] = {}
        self.sent = 0
        self.requests: list[str] = []  # methods, in order of arrival
        self._random = random.Random(1)
        self._clients: set[Client] = set()
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"rtsp://{self.host}:{self.port}/cam"

    def start(self) -> "FaultyRtsp":
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True, name="rtsp-server")
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("the RTSP test server did not start")
        return self

    def stop(self, rst: bool = False) -> None:
        """Stop listening and drop every client; returns when the server is gone."""
        if self._thread:
            self.kill(rst)
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)
            self._thread = None

    def restart(self) -> "FaultyRtsp":
        """Listen again, on the same port."""
        self.stop()
        return self.start()

    def kill(self, rst: bool = True) -> None:
        """Cut every connection (RST, or FIN) but keep listening."""
        self._loop.call_soon_threadsafe(self._cut, rst)

    def _cut(self, rst: bool) -> None:
        for client in list(self._clients):
            if rst:
                connection = client.writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.writer.transport.abort()
            else:
                client.writer.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = await asyncio.start_server(self._client, self.host, self.port)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopping.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(writer)
        self._clients.add(client)
        gone = (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, OSError)
        with contextlib.suppress(*gone):
            while await self._answer_next(reader, client):
                pass
        self._clients.discard(client)
        client.close()

    async def _answer_next(self, reader: asyncio.StreamReader, client: Client) -> bool:
        """Handle one request or interleaved packet; False ends the connection."""
        first = await reader.readexactly(1)
        if first == b"$":
            head = await reader.readexactly(3)
            await reader.readexactly(struct.unpack(">BH", head)[1])
            return True
        lines = (first + await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        request = {k.strip().lower(): v.strip() for k, v in (x.split(":", 1) for x in lines[1:] if ":" in x)}
        method = lines[0].split()[0]
        self.requests.append(method)
        return await self._answer(method, request, client)

    async def _answer(self, method: str, request: dict[str, str], client: Client) -> bool:
        if self.fault.get("no_reply"):
            return True
        if method == "DESCRIBE":
            await asyncio.sleep(self.fault.get("slow_open", 0))
        if self.auth and method != "OPTIONS" and request.get("authorization") != self._wanted_authorization():
            client.reply(request, "401 Unauthorized", 'WWW-Authenticate: Basic realm="x"\r\n')
        elif self.fault.get("status"):
            client.reply(request, self.fault["status"])
        elif method == "OPTIONS":
            client.reply(request, head="Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER\r\n")
        elif method == "DESCRIBE":
            client.reply(
                request, head=f"Content-Base: {self.url}/\r\nContent-Type: application/sdp\r\n", body=self._sdp()
            )
        elif method == "SETUP":
            self._set_up(request, client)
        else:
            client.reply(request, head="Session: 1\r\n")
        if method == "PLAY":
            client.sender = asyncio.ensure_future(self._send(client))
        return method != "TEARDOWN"

    def _wanted_authorization(self) -> str:
        return "Basic " + base64.b64encode((self.auth or "").encode()).decode()

    def _sdp(self) -> str:
        sets = [nal for nal in self.clips[0][0][0] if nal[0] & 31 in PARAMETER_SETS]
        parameters = ",".join(base64.b64encode(nal).decode() for nal in sets)
        lines = (
            "v=0",
            f"o=- 0 0 IN IP4 {self.host}",
            "s=t",
            f"c=IN IP4 {self.host}",
            "t=0 0",
            "m=video 0 RTP/AVP 96",
            "a=rtpmap:96 H264/90000",
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={parameters}",
            "a=control:track0",
        )
        return "".join(line + "\r\n" for line in lines)

    def _set_up(self, request: dict[str, str], client: Client) -> None:
        transport = request["transport"]
        if "TCP" in transport:
            client.reply(request, head="Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n")
        elif self.fault.get("tcp_only"):
            client.reply(request, "461 Unsupported Transport")
        else:
            port = int(transport.split("client_port=")[1].split("-")[0])
            client.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.udp.bind((self.host, 0))
            client.udp_to = (client.writer.get_extra_info("peername")[0], port)
            own = client.udp.getsockname()[1]
            ports = f"client_port={port}-{port + 1};server_port={own}-{own + 1}"
            client.reply(request, head=f"Transport: RTP/AVP;unicast;{ports}\r\nSession: 1\r\n")

    async def _send(self, client: Client) -> None:
        """Send pictures at `fps` until the client is gone or far behind."""
        loop = asyncio.get_running_loop()
        pictures = ClipReader(self.clips, self.fps)
        sequence = random.randrange(65536)
        started_s, n = loop.time(), 0
        while True:
            await asyncio.sleep(max(0.0, started_s + n / self.fps - loop.time()))
            n += 1
            if self.fault.get("stall"):
                continue
            nals = pictures.next(self.fault)
            for i, nal in enumerate(nals):
                payloads = fragments(nal)
                for j, payload in enumerate(payloads):
                    sequence = (sequence + 1) & 0xFFFF
                    last = i == len(nals) - 1 and j == len(payloads) - 1
                    damaged = self._damage(payload)
                    head = struct.pack(">BBHII", 0x80, 96 | (0x80 if last else 0), sequence, pictures.stamp, 0x1234)
                    if damaged is not None and not client.send(head + damaged):
                        return
            self.sent += 1

    def _damage(self, payload: bytes) -> bytes | None:
        """The payload after the faults `drop` (None) and `corrupt`."""
        if self._random.random() < self.fault.get("drop", 0):
            return None
        if len(payload) > 40 and self._random.random() < self.fault.get("corrupt", 0):
            at = self._random.randrange(20, len(payload))
            return payload[:at] + bytes([payload[at] ^ 0xFF]) + payload[at + 1 :]
        return payload
