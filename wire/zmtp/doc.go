// Package zmtp speaks ZMTP 3.1 (RFC 37, and RFC 23 for older peers): the
// greeting, the NULL mechanism, frames, messages and heartbeats over one TCP
// connection. A Link is a connection whose handshake has succeeded. The CURVE
// mechanism is in package curve; the meaning of messages is in package message.
package zmtp
