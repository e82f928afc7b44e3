// Package message defines what travels inside the frames of package zmtp: the
// plain request and reply maps that any ZeroMQ peer can speak, the compact
// envelopes that the SDKs speak, and the error codes that both carry. The byte
// layouts are specified in docs/protocol.md; this package is their only home.
package message
