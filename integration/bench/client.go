package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// driver is a client of one system, in a process of its own.
type driver interface {
	// open makes n connections; those of an earlier cell are closed or used again.
	open(n int) error
	// drive keeps every slot of a load in a call until the load is done, and
	// returns when the last one has ended.
	drive(l *load) error
}

// runClient obeys the commands on in until it ends.
func runClient(d driver, in io.Reader) error {
	if err := d.open(1); err != nil {
		return err
	}
	if err := say(Answer{Ready: "client"}); err != nil {
		return err
	}
	opened := 1
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var c Cell
		var warm, measure, wanted, broker, worker1, worker2 int
		if _, err := fmt.Fscanf(strings.NewReader(lines.Text()), "measure %d %d %d %d %d %d %d %d %d",
			&c.Size, &c.InFlight, &c.Connections, &warm, &measure, &wanted, &broker, &worker1, &worker2); err != nil {
			return fmt.Errorf("the command %q: %w", lines.Text(), err)
		}
		if c.Connections != opened {
			if err := d.open(c.Connections); err != nil {
				return err
			}
			opened = c.Connections
		}
		r, err := runLoad(d, newLoad(c, wanted), time.Duration(warm)*time.Millisecond, time.Duration(measure)*time.Millisecond,
			sides{{os.Getpid()}, {broker}, {worker1, worker2}}.cpu)
		if err != nil {
			return err
		}
		if err := say(Answer{Done: r}); err != nil {
			return err
		}
	}
	return nil
}

// runLoad drives a load through its window, at whose ends it reads what cpu says of
// each side. The window waits until each slot has had an answer, however long that
// takes: before, a client that fills a deep queue takes no answers, and just after it
// only those that have come meanwhile.
func runLoad(d driver, l *load, warm, measure time.Duration, cpu func() (usage, error)) (*Report, error) {
	ended := make(chan error, 1)
	go func() { ended <- d.drive(l) }()
	defer l.phase.Store(over) // so that it ends, whatever happens here
	always := make(chan struct{})
	close(always)
	if err := waitOr(ended, 0, l.whole); err != nil {
		return nil, err
	}
	if err := waitOr(ended, warm, always); err != nil {
		return nil, err
	}
	before, err := cpu()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	l.phase.Store(measuring)
	if err := waitOr(ended, measure, l.counted); err != nil {
		return nil, err
	}
	l.phase.Store(over)
	measured := time.Since(began)
	after, err := cpu()
	if err != nil {
		return nil, err
	}
	if err := <-ended; err != nil {
		return nil, err
	}
	r := l.report(measured)
	r.CPU = after.since(before)
	return r, nil
}

// waitOr lets the load run for d, and on until enough is closed: on a busy machine
// that may come after d. An early end of the load is an error.
func waitOr(ended <-chan error, d time.Duration, enough <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	elapsed := timer.C
	for {
		var done <-chan struct{} // enough, once the time has elapsed
		if elapsed == nil {
			done = enough
		}
		select {
		case <-elapsed:
			elapsed = nil
		case <-done:
			return nil
		case err := <-ended:
			if err == nil {
				err = errors.New("the load ended before its time")
			}
			return err
		}
	}
}

// callers drives a load with one goroutine a slot, for clients whose calls block.
// call makes one on connection conn.
func callers(l *load, call func(conn int, payload []byte) ([]byte, error)) error {
	var calling sync.WaitGroup
	errs := make([]error, len(l.slots))
	for i := range l.slots {
		calling.Go(func() {
			s := &l.slots[i]
			for !l.done() {
				answer, err := call(i%l.cell.Connections, s.next())
				if err != nil {
					errs[i] = err
					return
				}
				l.ended(s, answer)
			}
		})
	}
	calling.Wait()
	return first(errs)
}

// pipelines drives a load with one goroutine a connection, to which its slots
// belong.
func pipelines(l *load, drive func(conn int, mine []*slot) error) error {
	var driving sync.WaitGroup
	errs := make([]error, l.cell.Connections)
	for conn := range errs {
		var mine []*slot
		for i := conn; i < len(l.slots); i += len(errs) {
			mine = append(mine, &l.slots[i])
		}
		driving.Go(func() { errs[conn] = drive(conn, mine) })
	}
	driving.Wait()
	return first(errs)
}
