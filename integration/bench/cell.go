package bench

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Cell is one piece of work: echoes of Size bytes, InFlight of them at once over
// Connections client connections, to a number of workers.
type Cell struct {
	Size        int `json:"size"`
	InFlight    int `json:"in_flight"`
	Connections int `json:"connections"`
	Workers     int `json:"workers"`
	Slots       int `json:"slots"` // calls that one worker takes at once
}

// Timing is how long a cell is measured, and how often.
type Timing struct {
	Warm    time.Duration // runs before the window, not counted, once the load is whole
	Measure time.Duration
	Repeats int
}

// The usual workers: enough slots for every call in flight, as the sockets of
// the others have room for.
const (
	usualWorkers = 2
	usualSlots   = 512
)

func (c Cell) layout() Layout { return Layout{Workers: c.Workers, Slots: c.Slots} }

// String is the form that ParseCells reads.
func (c Cell) String() string {
	s := fmt.Sprintf("%s/%d", sizeText(c.Size), c.InFlight)
	if c.Connections != 1 {
		s += fmt.Sprintf("/c%d", c.Connections)
	}
	if c.Workers != usualWorkers {
		s += fmt.Sprintf("/w%d", c.Workers)
	}
	if c.Slots != usualSlots {
		s += fmt.Sprintf("/s%d", c.Slots)
	}
	return s
}

// sizeText is a size as the tables have it.
func sizeText(n int) string {
	switch {
	case n >= 1e6 && n%1e6 == 0:
		return fmt.Sprintf("%dMB", n/1e6)
	case n >= 1e3 && n%1e3 == 0:
		return fmt.Sprintf("%dkB", n/1e3)
	}
	return fmt.Sprintf("%dB", n)
}

// ParseCells reads a list such as 100B/1000,60kB/10/c10/w1000/s1: size, calls in
// flight, and, if they are not the usual ones, client connections, workers and
// slots of each worker.
func ParseCells(list string) ([]Cell, error) {
	var cells []Cell
	for text := range strings.SplitSeq(list, ",") {
		c, err := parseCell(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("the cell %q: %w; write one like 100B/1000 or 60kB/10/c10/w1000/s1", text, err)
		}
		cells = append(cells, c)
	}
	return cells, nil
}

func parseCell(text string) (Cell, error) {
	c := Cell{Connections: 1, Workers: usualWorkers, Slots: usualSlots}
	size, rest, ok := strings.Cut(text, "/")
	if !ok {
		return c, fmt.Errorf("it has no calls in flight")
	}
	number, unit := strings.TrimRight(size, "kMB"), 1
	switch size[len(number):] {
	case "B", "":
	case "kB":
		unit = 1e3
	case "MB":
		unit = 1e6
	default:
		return c, fmt.Errorf("the unit of its size is none of B, kB and MB")
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return c, fmt.Errorf("its size is no number")
	}
	c.Size = n * unit
	for i, part := range strings.Split(rest, "/") {
		field := &c.InFlight
		if i > 0 {
			switch {
			case strings.HasPrefix(part, "c"):
				field = &c.Connections
			case strings.HasPrefix(part, "w"):
				field = &c.Workers
			case strings.HasPrefix(part, "s"):
				field = &c.Slots
			default:
				return c, fmt.Errorf("%q is none of c, w and s with a number", part)
			}
			part = part[1:]
		}
		if *field, err = strconv.Atoi(part); err != nil || *field < 1 {
			return c, fmt.Errorf("%q is no positive number", part)
		}
	}
	if c.Connections > c.InFlight {
		return c, fmt.Errorf("it has more connections than calls in flight")
	}
	return c, nil
}
