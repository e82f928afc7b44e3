// Package bench measures the broker beside other systems that do the same work:
// libzmq's own proxy, NATS, the Python library that this project succeeds, and
// gRPC without a broker. Each system runs as processes of its own, a client, a
// broker and workers, on the loopback interface, does the same work and checks
// every answer for equality. docs/performance.md says how to run it and how
// each system is set up.
package bench
