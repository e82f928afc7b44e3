package message

// Bounds of the items of a stream that are on their way, docs/protocol.md 4.6. A
// worker sends another one while both leave room: more than StreamBytes are
// there only by the size of one item.
const (
	StreamWindow = 16      // items that the client has not consumed
	StreamBytes  = 4 << 20 // their bytes
)
