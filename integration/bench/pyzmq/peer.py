"""The processes of the Python library's own shape, which speak with the harness
as the Go programs do: zmq.proxy, a REP worker that unpickles a Message and calls
the method it names, and a client that keeps several Messages in flight. They end
with their standard input.

    peer.py '{"role": "proxy|worker|client", "endpoint": ..., "server": ..., "key": [public, secret]}'
"""

import json
import os
import sys
import threading
import time

import zmq


class Message:
    """A call, as the clients of the library send it."""

    def __init__(self, *args, **kwargs):
        self.method = kwargs.get("method", None)
        self.args = kwargs.get("args", list())
        self.kwargs = kwargs.get("kwargs", dict())


class Worker:
    """A worker with one method."""

    def echo(self, payload):
        return payload

    def execute(self, message):
        return getattr(self, message.method)(*message.args, **message.kwargs)


def say(**answer):
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def socket(kind, spec):
    s = zmq.Context.instance().socket(kind)
    s.sndhwm = s.rcvhwm = s.linger = 0
    if spec.get("key"):
        s.curve_publickey, s.curve_secretkey = (k.encode() for k in spec["key"])
        if spec["role"] == "proxy":
            s.curve_server = True
        else:
            s.curve_serverkey = spec["server"].encode()
    return s


def connect_all(s, endpoint, connections):
    """Makes connections to one endpoint. A DEALER ignores a second connect to
    what it is connected to; each has a source address of its own."""
    s.connect(endpoint)
    for i in range(1, connections):
        s.connect("tcp://127.1.%d.%d:0;%s" % (i // 250, 1 + i % 250, endpoint[len("tcp://"):]))


def end_with_input():
    def wait():
        while sys.stdin.read(4096):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def proxy(spec):
    end_with_input()
    front, back = socket(zmq.ROUTER, spec), socket(zmq.DEALER, spec)
    ports = [s.bind_to_random_port("tcp://127.0.0.1") for s in (front, back)]
    say(ready=" ".join("tcp://127.0.0.1:%d" % p for p in ports))
    zmq.proxy(front, back)


def worker(spec):
    end_with_input()
    s, w = socket(zmq.REP, spec), Worker()
    connect_all(s, spec["endpoint"], spec["workers"])
    say(ready="worker")
    while True:
        s.send_pyobj(w.execute(s.recv_pyobj()))


def cpu(pids):
    """The processor seconds of the client, the broker and the workers so far; PID 0
    stands for no process."""

    def used(*which):  # the clock's number is as clock_getcpuclockid(3) makes it
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in which if pid)

    return [used(os.getpid()), used(pids[0]), used(*pids[1:])]


class Load:
    """The calls in flight during one cell, each with a payload of its own."""

    def __init__(self, s, size, n, wanted=0):
        self.s, self.size, self.n = s, size, n
        self.pattern = bytes(i * 7 % 256 for i in range(size))
        self.turn = [0] * n
        self.sent = [0.0] * n
        self.expected = [b""] * n
        self.busy = [False] * n
        self.any = 0
        self.stride = max(1, n // 100)
        self.calls = self.wrong = 0
        self.of_slot = [0] * n
        self.wanted = wanted  # answers of one timed slot in the window, which waits for them
        self.counted = False
        self.latency = []

    def send(self, i):
        self.turn[i] = (self.turn[i] + 1) & 0xFFFFFFFF
        payload = self.pattern
        if self.size >= 8:
            payload = i.to_bytes(4, "little") + self.turn[i].to_bytes(4, "little") + self.pattern[8:]
        self.expected[i] = payload
        self.busy[i] = True
        if i % self.stride == 0:
            self.sent[i] = time.perf_counter()
        self.s.send(b"", zmq.SNDMORE)
        self.s.send_pyobj(Message(method="echo", args=[payload]))

    def take(self, measuring):
        """Takes an answer; returns its slot, or None if none came for a while."""
        try:
            self.s.recv()  # the delimiter
        except zmq.Again:
            return None
        answer = self.s.recv_pyobj()
        if self.size >= 8:
            i = int.from_bytes(answer[:4], "little")
            known = i < self.n
            i = i if known else 0
        else:  # all are alike: each slot has its turn
            self.any = (self.any + 1) % self.n
            while not self.busy[self.any]:
                self.any = (self.any + 1) % self.n
            i, known = self.any, True
        if not known or not self.busy[i] or answer != self.expected[i]:
            self.wrong += 1
        self.busy[i] = False
        if measuring:
            self.calls += 1
            self.of_slot[i] += 1
            if i % self.stride == 0:
                self.counted = self.counted or self.of_slot[i] == self.wanted
                self.latency.append(time.perf_counter() - self.sent[i])
        return i


def run(s, size, n, warm, measure, wanted, pids):
    load = Load(s, size, n, wanted)
    start = stop = end = None
    for i in range(n):
        load.send(i)
    busy, unanswered, last = n, n, time.perf_counter()
    while busy:
        i = load.take(stop is not None and end is None)
        now = time.perf_counter()
        if start is not None and stop is None and now >= start:
            before = cpu(pids)
            start = time.perf_counter()
            stop = start + measure
        elif stop is not None and end is None and now >= stop and load.counted:
            end, after = now, cpu(pids)
        if i is None:
            if now - last > 60:
                raise SystemExit("no answer for 60 s, %d calls in flight" % busy)
            continue
        last = now
        if unanswered:  # then what came while a deep queue was filled is taken
            unanswered -= 1
            start = None if unanswered else now + warm
        if end is None:
            load.send(i)
        else:
            busy -= 1
    p = sorted(load.latency) or [0]
    say(done={"calls": load.calls, "wrong": load.wrong, "seconds": end - start,
              "p50_us": p[len(p) // 2] * 1e6, "p99_us": p[len(p) * 99 // 100] * 1e6,
              "cpu_s": [a - b for a, b in zip(after, before)]})


def prime(s, connections):
    """Has each connection carry one message there and back: a DEALER hands them
    out in turn, also to connections that are not up yet."""
    load, busy, start = Load(s, 8, connections), connections, time.perf_counter()
    for i in range(connections):
        load.send(i)
    while busy and time.perf_counter() - start < 60:
        busy -= load.take(False) is not None
    if busy or load.wrong:
        raise SystemExit("%d connections do not come up, %d wrong answers" % (busy, load.wrong))


def client(spec):
    def dial(connections):
        s = socket(zmq.DEALER, spec)
        s.rcvtimeo = 100
        connect_all(s, spec["endpoint"], connections)
        prime(s, connections)
        return s

    opened = 1
    s = dial(opened)
    say(ready="client")
    for line in sys.stdin:
        _, size, n, connections, warm, measure, wanted, *pids = line.split()
        if int(connections) != opened:
            s.close()
            opened = int(connections)
            s = dial(opened)
        run(s, int(size), int(n), int(warm) / 1e3, int(measure) / 1e3, int(wanted), [int(pid) for pid in pids])


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    {"proxy": proxy, "worker": worker, "client": client}[task["role"]](task)
