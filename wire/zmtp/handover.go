package zmtp

import "runtime/debug"

// handover is what the goroutines share that read a link one after the other.
type handover struct {
	handle func(*Message) error // static from Run on
	ended  chan error           // gets what the last one returns, once; static from Run on
}

// readByMany is contain for a link that one goroutine after the other reads.
func (l *Link) readByMany(handle func(*Message) error) error {
	l.handover = handover{handle, make(chan error, 1)}
	if l.lending.waiting != nil {
		go l.readOwn()
	} else {
		go l.readAs(0)
	}
	err := <-l.handover.ended
	l.lending.end()
	return err
}

// readInPlace is the read loop in the caller's goroutine. It ends when leave, which readLoop
// asks, reports true, or with the link. left is asked then, after a panic or Goexit, too: if it
// reports false, nobody reads on, and the end is the link's.
func (l *Link) readInPlace(leave, left func() bool) {
	var err error
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
			l.Close(err)
		}
		if !left() {
			l.endTurn()
			l.reader.release()
			l.Close(err) // before anybody else runs, and writes
			l.handover.ended <- err
		}
	}()
	err = l.readLoop(l.handover.handle, leave)
}
