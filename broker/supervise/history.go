package supervise

import (
	"math/rand/v2"
	"time"

	"github.com/servicetools/servicetools/broker/config"
)

// history remembers the recent exits of one worker that nobody asked for.
type history struct {
	recent  []time.Time // within the crash loop's window, at most crash_loop_exits of them
	exits   int         // since the worker last ran longer than the window
	looping bool        // they were too many, until it runs longer than the window again
}

// exited records that a process ended after it ran for ran. It returns the
// delay before the next one, and whether this is a crash loop.
func (h *history) exited(now time.Time, ran time.Duration, p config.Supervise) (delay time.Duration, looping bool) {
	if ran >= p.CrashLoopWindow {
		*h = history{}
	}
	h.exits++
	h.recent = append(h.recent, now)
	if extra := len(h.recent) - p.CrashLoopExits; extra > 0 {
		h.recent = h.recent[extra:]
	}
	if len(h.recent) == p.CrashLoopExits && now.Sub(h.recent[0]) <= p.CrashLoopWindow {
		h.looping = true
	}
	if h.looping {
		return jittered(p.CrashLoopDelay), true
	}
	delay = p.RestartBackoff
	for n := 1; n < h.exits && delay < p.RestartBackoffMax; n++ {
		delay *= 2
	}
	return jittered(min(delay, p.RestartBackoffMax)), false
}

// jittered returns a random time from half of d to d, so that workers that
// died together do not return together.
func jittered(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
