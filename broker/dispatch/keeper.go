package dispatch

// kept is an outcome that is kept for a caller who may come.
type kept struct {
	answer
	until  instant
	name   string // under which it is kept
	gone   bool   // taken or replaced: the keeper only passes it
	forget func() // removes what points here
}

// keeper holds outcomes for a time, the oldest first, and within a number of
// bytes. All of a keeper are kept equally long, so the oldest ends first.
type keeper struct {
	list  []*kept
	bytes int64
}

// keptRoom is about what an outcome takes beside its body and its name: else a
// caller with a new key for each call could keep millions of empty ones.
const keptRoom = 400

// size is what k takes, in bytes.
func (k *kept) size() int64 { return int64(keptRoom + len(k.name) + len(k.body)) }

// add keeps k, whose body must be its own.
func (p *keeper) add(k *kept) {
	p.list = append(p.list, k)
	p.bytes += k.size()
}

// take gives k out of the keeper.
func (p *keeper) take(k *kept) {
	if !k.gone {
		k.gone = true
		p.bytes -= k.size()
	}
}

// trim forgets what is over, and the oldest ones while there are too many bytes.
func (p *keeper) trim(now instant, limit int64) {
	for len(p.list) > 0 {
		k := p.list[0]
		if !k.gone && !k.until.passed(now) && p.bytes <= limit {
			return
		}
		if !k.gone {
			p.take(k)
			k.forget()
		}
		p.list[0] = nil
		p.list = p.list[1:]
	}
}
