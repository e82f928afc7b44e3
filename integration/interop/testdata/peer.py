"""A pyzmq peer. argv[1] is a JSON object; "do" names the function below that
gets the others as arguments. Answers are lines of JSON on standard output."""
import json
import os
import sys
import threading
import time

import msgpack
import zmq
import zmq.auth
from zmq.utils.monitor import recv_monitor_message


def say(**fields):
    print(json.dumps(fields), flush=True)


def until_told():
    """Waits for the end of standard input."""
    sys.stdin.read()


def socket(type, curve=None, options=None):
    s = zmq.Context.instance().socket(getattr(zmq, type))
    s.LINGER = 0
    s.SNDTIMEO = s.RCVTIMEO = 30000
    if curve:
        s.CURVE_PUBLICKEY = curve["public"].encode()
        s.CURVE_SECRETKEY = curve["secret"].encode()
        if "server" in curve:
            s.CURVE_SERVERKEY = curve["server"].encode()
        else:
            s.CURVE_SERVER = 1
    for name, value in (options or {}).items():
        s.setsockopt(getattr(zmq, name), value.encode() if isinstance(value, str) else value)
    return s


def zap(allow):
    """Answers ZAP requests: the status by Z85 key, 400 for all others."""
    handler = zmq.Context.instance().socket(zmq.REP)
    handler.bind("inproc://zeromq.zap.01")

    def serve():
        while True:
            frames = handler.recv_multipart()
            key = zmq.utils.z85.encode(frames[6]).decode() if len(frames) > 6 else ""
            status = allow.get(key, "400").encode()
            handler.send_multipart([b"1.0", frames[1], status, b"", b"user", b""])

    threading.Thread(target=serve, daemon=True).start()


def roundtrip(type, endpoint, sizes, curve=None, options=None, delimiter=False, inflight=1, multi=False):
    """Sends messages to an echo and compares what comes back."""
    s = socket(type, curve, options)
    s.connect(endpoint)
    messages = []
    for n in sizes:
        body = os.urandom(n)
        messages.append([body, b"", body[:10]] if multi else [body])
    for start in range(0, len(messages), inflight):
        batch = messages[start:start + inflight]
        for m in batch:
            s.send_multipart(([b""] if delimiter else []) + m)
        for m in batch:
            got = s.recv_multipart()
            want = ([b""] if delimiter else []) + m
            if got != want:
                say(ok=False, why="%d frames of %s bytes came back changed" % (len(got), [len(f) for f in got]))
                return
    say(ok=True)


def crowd(type, endpoint, peers, curve=None):
    """Many sockets at once, each with one request."""
    sockets = []
    for i in range(peers):
        s = socket(type, curve, {"ROUTING_ID": "the same"} if type == "DEALER" else None)
        s.connect(endpoint)
        sockets.append(s)
    for i, s in enumerate(sockets):
        s.send(b"%d" % i)
    wrong = [i for i, s in enumerate(sockets) if s.recv() != b"%d" % i]
    say(ok=not wrong, why="wrong answers: %s" % wrong)


def echo(type, bind, curve=None, allow=None, options=None):
    """A server that answers each message with itself."""
    if allow is not None:
        zap(allow)
    s = socket(type, curve, options)
    s.RCVTIMEO = s.SNDTIMEO = -1
    s.bind(bind)
    say(endpoint=s.LAST_ENDPOINT.decode())
    while True:
        s.send_multipart(s.recv_multipart())


def persist(endpoint, curve=None, options=None):
    """Asks for ever and tells of each answer."""
    s = socket("DEALER", curve, options)
    s.RCVTIMEO = 200
    s.connect(endpoint)
    n = 0
    while True:
        n += 1
        s.send(b"%d" % n)
        try:
            say(answer=int(s.recv()))
            time.sleep(0.02)
        except zmq.Again:
            pass


EVENTS = {getattr(zmq, "EVENT_" + name): name for name in (
    "CONNECTED", "DISCONNECTED", "HANDSHAKE_SUCCEEDED",
    "HANDSHAKE_FAILED_NO_DETAIL", "HANDSHAKE_FAILED_PROTOCOL", "HANDSHAKE_FAILED_AUTH")}


def monitor(endpoint, seconds, curve=None, type="DEALER", options=None, until=None):
    """Connects and tells what libzmq reports, until an event or the time is over."""
    s = socket(type, curve, options)
    events = s.get_monitor_socket()
    s.connect(endpoint)
    end, seen = time.time() + seconds, []
    while time.time() < end:
        if events.poll(int(1000 * max(0, end - time.time()))):
            event = recv_monitor_message(events)
            name = EVENTS.get(event["event"])
            if name:
                seen.append([name, event["value"]])
            if name and name == until:
                break
    say(events=seen)


def idle(endpoint, seconds, curve=None, options=None):
    """Says nothing for a while, and then asks: the connection must have lasted."""
    s = socket("DEALER", curve, options)
    events = s.get_monitor_socket()
    s.connect(endpoint)
    s.send(b"first")
    first = s.recv()
    time.sleep(seconds)
    s.send(b"second")
    ok = first == b"first" and s.recv() == b"second"
    names = []
    while events.poll(0):
        names.append(EVENTS.get(recv_monitor_message(events)["event"]))
    say(ok=ok and "DISCONNECTED" not in names, why="events: %s" % names)


def flood(endpoint, size, curve=None):
    """Sends without end; is meant to be killed."""
    s = socket("DEALER", curve)
    s.SNDTIMEO = -1
    s.connect(endpoint)
    body = b"x" * size
    say(ok=True)
    while True:
        s.send_multipart([b"head", body])


def call(type, endpoint, method, args, curve=None, options=None, delimiter=False, inflight=1):
    """Makes one call with each of args, several at once, and tells all results."""
    s = socket(type, curve, options)
    s.connect(endpoint)
    results = [None] * len(args)
    for start in range(0, len(args), inflight):
        batch = range(start, min(start + inflight, len(args)))
        for i in batch:
            request = msgpack.packb({"method": method, "args": [args[i]], "id": i, "timeout": 20.0})
            s.send_multipart([b"", request] if delimiter else [request])
        for _ in batch:
            frames = s.recv_multipart()
            if delimiter and frames[0] != b"":
                say(ok=False, why="no delimiter in %s" % frames)
                return
            reply = msgpack.unpackb(frames[-1])
            results[reply["id"]] = reply.get("result", reply.get("error"))
    say(ok=True, results=results)


def worker(endpoint, curve=None, options=None):
    """A REP worker: "twice" doubles, "fail" fails, "stop" ends the process."""
    s = socket("REP", curve, options)
    s.RCVTIMEO = -1
    s.connect(endpoint)
    say(ok=True)
    while True:
        request = msgpack.unpackb(s.recv())
        if request["method"] == "stop":
            os.kill(os.getpid(), 9)
        if request["method"] == "fail":
            s.send(msgpack.packb({"error": "as asked"}))
            continue
        s.send(msgpack.packb({"result": 2 * request["args"][0]}))


def certificates(folder, read):
    """Writes a certificate and reads others; tells the keys of all."""
    zmq.auth.create_certificates(folder, "pyzmq", metadata={"email": "me@example.org"})
    keys = {}
    for path in [os.path.join(folder, "pyzmq.key_secret")] + read:
        public, secret = zmq.auth.load_certificate(path)
        keys[os.path.basename(path)] = [public.decode(), secret.decode() if secret else ""]
    say(keys=keys)


task = json.loads(sys.argv[1])
do = globals()[task.pop("do")]
if do in (echo, persist, flood, worker):
    threading.Thread(target=lambda: (until_told(), os._exit(0)), daemon=True).start()
do(**task)
