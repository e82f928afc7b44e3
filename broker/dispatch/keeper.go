package dispatch

// kept is an outcome that is kept for a caller who may come.
type kept struct {
	answer
	until  instant
	gone   bool   // taken or replaced: the keeper only passes it
	forget func() // removes what points here
}

// keeper holds outcomes for a time, the oldest first, and within a number of
// bytes. All of a keeper are kept equally long, so the oldest ends first.
type keeper struct {
	list  []*kept
	bytes int64
}

// add keeps k, whose body must be its own.
func (p *keeper) add(k *kept) {
	p.list = append(p.list, k)
	p.bytes += int64(len(k.body))
}

// take gives k out of the keeper.
func (p *keeper) take(k *kept) {
	if !k.gone {
		k.gone = true
		p.bytes -= int64(len(k.body))
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
