package buffer

// Content is bytes that live as long as the memory that they lie in is held.
type Content struct {
	Bytes  []byte
	Memory *Buffer // nil if the bytes are somebody else's business
}

// Keep returns content that its owner may keep until Release: b itself, where b
// is large and memory, what it lies in, is worth holding for it, or else a copy.
// A nil memory cannot be held.
func Keep(b []byte, memory *Buffer) Content {
	if len(b) >= Large && memory != nil && !memory.Wasted(len(b)) {
		return Content{b, memory.Hold()}
	}
	memory = Get(len(b))
	memory.Bytes = append(memory.Bytes, b...)
	return Content{memory.Bytes, memory}
}

// Release gives the bytes up.
func (c *Content) Release() {
	c.Memory.Release()
	*c = Content{}
}
