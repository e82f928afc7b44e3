// Package cluster tests a broker, workers and clients in containers, on
// networks of their own, as somebody with several machines runs them. The
// tests drive a Docker engine. What runs inside are the images of `make images`
// and the program in probe, which plays the workers and the clients of chaos,
// listens on the wire and spoils a connection. The cases are those of chaos, and
// some that need hosts; each ends with the same account of its calls.
package cluster
