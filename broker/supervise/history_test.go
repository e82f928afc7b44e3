package supervise

import (
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/config"
)

func TestHistory(t *testing.T) {
	p := config.Supervise{
		RestartBackoff: time.Second, RestartBackoffMax: 5 * time.Second,
		CrashLoopExits: 4, CrashLoopWindow: time.Minute, CrashLoopDelay: 100 * time.Second,
	}
	var h history
	now := time.Unix(0, 0)
	for i, row := range []struct {
		name    string
		ran     time.Duration
		max     time.Duration // the delay lies between half of it and it
		looping bool
	}{
		{"the first exit", time.Second, time.Second, false},
		{"the delay doubles", time.Second, 2 * time.Second, false},
		{"after half a minute it doubles still", 30 * time.Second, 4 * time.Second, false},
		{"four exits, but not within the window", 30 * time.Second, 5 * time.Second, false},
		{"the delay is bounded", time.Second, 5 * time.Second, false},
		{"four exits within the window", time.Second, 100 * time.Second, true},
		{"a crash loop lasts", 50 * time.Second, 100 * time.Second, true},
		{"until it ran longer than the window", 61 * time.Second, time.Second, false},
		{"and begins from the start", time.Second, 2 * time.Second, false},
	} {
		now = now.Add(row.ran)
		delay, looping := h.exited(now, row.ran, p)
		if delay < row.max/2 || delay > row.max || looping != row.looping {
			t.Errorf("%d %s: a delay of %v, crash loop %v", i, row.name, delay, looping)
		}
		now = now.Add(time.Second)
	}
}
