// Package curve implements the CURVE mechanism of ZMTP (RFC 26/CURVEZMQ, RFC
// 25/ZMTP-CURVE) for both sides of a connection, and what it needs at rest:
// keys, their Z85 form (RFC 32), and certificate files as czmq and pyzmq write
// them. Comments use the notation of the RFC: C and S are the permanent public
// keys of client and server, C' and S' the transient ones, c, s, c' and s' the
// secrets; Box [x](C'->S) is x sealed from C' to S.
package curve
