package dispatch

// numbers finds the calls of a session by their numbers. Numbers ascend, so the
// low bits make a slot and neighbours share a cache line: half the cost of a map
// in the calls of a deep queue. Only a call that is still there when its slot's
// turn comes again makes another one overflow.
type numbers struct {
	slots    []*call // a power of two, or none
	overflow map[uint64]*call
	len      int
}

const (
	minNumbers  = 16
	keepNumbers = 1024 // slots that an empty table keeps
)

func (n *numbers) get(number uint64) *call {
	if n.len == 0 {
		return nil
	}
	if c := n.slots[number&n.mask()]; c != nil && c.origin.Number == number {
		return c
	}
	return n.overflow[number]
}

func (n *numbers) put(c *call) {
	if 2*n.len >= len(n.slots) {
		n.grow()
	}
	n.len++
	n.set(c)
}

func (n *numbers) set(c *call) {
	if slot := &n.slots[c.origin.Number&n.mask()]; *slot == nil {
		*slot = c
		return
	}
	if n.overflow == nil {
		n.overflow = make(map[uint64]*call)
	}
	n.overflow[c.origin.Number] = c
}

func (n *numbers) remove(c *call) {
	if slot := &n.slots[c.origin.Number&n.mask()]; *slot == c {
		*slot = nil
	} else {
		delete(n.overflow, c.origin.Number)
	}
	if n.len--; n.len == 0 && len(n.slots) > keepNumbers {
		n.slots, n.overflow = nil, nil
	}
}

func (n *numbers) mask() uint64 { return uint64(len(n.slots) - 1) }

func (n *numbers) grow() {
	old, overflow := n.slots, n.overflow
	n.slots, n.overflow = make([]*call, max(2*len(old), minNumbers)), nil
	for _, c := range old {
		if c != nil {
			n.set(c)
		}
	}
	for _, c := range overflow {
		n.set(c)
	}
}
