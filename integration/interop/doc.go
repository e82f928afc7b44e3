// Package interop holds the tests with other implementations of ZeroMQ: pyzmq
// on libzmq, goczmq on libzmq (build tag czmq), and go-zeromq/zmq4. They end
// with a matrix of peers and cases.
package interop
