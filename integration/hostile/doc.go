// Package hostile attacks a broker over raw sockets, as an unauthenticated peer
// and as the owner of a client's or a worker's key, while a well-behaved client
// makes calls. It ends with a table of the attacks: what they cost the client,
// and what the broker keeps of them.
package hostile
