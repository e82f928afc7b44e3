// Package cluster tests a broker, workers and clients in containers, on
// networks of their own, as somebody with several machines runs them. The
// tests drive a Docker engine; what runs inside are the images of `make images`
// and the program in probe, which makes calls, listens on the wire and spoils a
// connection. Each case ends with an account of its calls.
package cluster
