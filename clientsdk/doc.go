// Package clientsdk calls methods of workers through a servicetools broker.
//
//	c, err := clientsdk.Dial(ctx, "tcp://broker:8006",
//		clientsdk.WithCertificate("alice.key_secret"), clientsdk.WithServerKey("server.key"))
//	sum, err := clientsdk.Call[int](ctx, c, "add", 1, 2)
//
// A Client speaks the compact protocol of docs/protocol.md, section 4.2, over
// one connection at a time. It reconnects by itself and resumes what was in
// flight: a call ends exactly once, in a result or in an *Error whose code says
// what happened and whose Execution says whether the method may have run.
//
// A call's encoded arguments are kept until its outcome is there, within the
// bounds of WithMaxInFlight; calls beyond them wait for a place. On Linux, a
// goroutine that waits alone for its calls reads the connection itself; otherwise a
// goroutine of the Client does. A call costs no goroutine and, its arguments and
// result apart, no allocation. A []byte result is the caller's for good; a Buffer
// takes one result after the other into memory that is used again, which makes large
// ones a good deal cheaper.
package clientsdk
