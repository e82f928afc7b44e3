// Package broker hands work from clients to workers over ZeroMQ, encrypted.
//
// A Broker has two endpoints, the frontend for clients and the backend for
// workers. Each link is served by one goroutine that reads envelopes or plain
// messages and puts them into package dispatch, which decides; what dispatch
// decides leaves through the links' own queues. Package keyring says who may
// enter, package supervise runs workers on this host.
package broker
