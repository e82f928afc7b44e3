package cluster

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/servicetools/servicetools/integration/chaos"
)

// falseClockVariable names the environment variable that sets the wall clock of a
// program that was built with a false one: by so many seconds, and, behind an
// @, so many seconds after its start: 86400@5.
const falseClockVariable = "FALSE_CLOCK"

// truth is the line of the standard library that asks for the time, and lie is
// what follows it in the false one. The monotonic clock stays what it is, as it
// does when somebody sets a host's clock.
const (
	truth = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {\n"
	lie   = `	sec, nsec, mono := runtimeNow()
	if mono-startNano >= falseAfter {
		sec += falseBy
	}
	if mono == 0 {
`
	liar = `
var falseBy, falseAfter = falseClock()

func falseClock() (by, after int64) {
	text, _ := syscall.Getenv("` + falseClockVariable + `")
	sign := int64(1)
	if text != "" && text[0] == '-' {
		sign, text = -1, text[1:]
	}
	into := &by
	for _, c := range text {
		if c == '@' {
			into = &after
		} else {
			*into = *into*10 + int64(c-'0')
		}
	}
	return sign * by, after * int64(Second)
}
`
)

// falseClock writes a copy of the installed standard library's clock that can
// be set, and an overlay for go build that puts it in its place. It returns the
// overlay's path.
func falseClock(dir string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	b, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	text := string(b)
	if strings.Count(text, truth) != 1 || !strings.Contains(text, "import (\n") {
		return "", errors.New(original + " asks for the time in another way than before: adapt integration/cluster/clock_test.go")
	}
	text = strings.Replace(text, truth, lie, 1) + liar
	text = strings.Replace(text, "import (\n", "import (\n\t\"syscall\"\n", 1)
	copied, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	b, err = json.Marshal(map[string]any{"Replace": map[string]string{original: copied}})
	if err != nil {
		return "", err
	}
	return overlay, errors.Join(os.WriteFile(copied, []byte(text), 0o600), os.WriteFile(overlay, b, 0o600))
}

const day = 24 * time.Hour

// A wall clock that is wrong, or set while calls run, decides nothing: no
// deadline, no lease and no heartbeat.
func falseWorkers(r *chaos.Run) {
	s := siteOf(r)
	s.clocks["w1"], s.clocks["w2"], s.clocks["w3"], s.clocks["setback"] = "86400", "-86400", "86400@8", "-86400@8"
	r.Usual()
	r.AddClient(chaos.Load{Name: "setback", Cert: "other", Callers: 4, HoldLeast: 25, HoldMost: 55})
	r.Rules.RateOf = "c"
	r.Under(func() {
		r.Eventually("one clock is ahead, one behind, and two are set", func() bool {
			var ahead, behind, set int
			e := r.Evidence()
			for _, journals := range []map[string][]chaos.Record{e.Workers, e.Clients} {
				for _, records := range journals {
					switch first, last := records[0].At, records[len(records)-1].At; {
					case last.Sub(first).Abs() > day/2:
						set++
					case time.Until(first) > day/2:
						ahead++
					case time.Until(first) < -day/2:
						behind++
					}
				}
			}
			return ahead == 1 && behind == 1 && set == 2
		})
	})
}

// told is what zcall doctor says of a broker whose clock is a day ahead.
const setClock = "clock of the broker set by a day"

var told = regexp.MustCompile(`clock is (24h0m0|23h59m59)`)

func falseBroker(r *chaos.Run) {
	s := siteOf(r)
	r.Usual()
	r.Under(func() {
		var said string
		chaos.Await(r, "zcall doctor warns of the broker's clock", func() bool {
			doctor := s.start(spec{
				name: s.next("doctor"), image: s.engine.image("zcall"), on: s.frontend, volumes: []string{s.mount(keysPath) + ":ro"},
				args: []string{"doctor"},
			})
			defer doctor.remove()
			code := doctor.wait()
			said = doctor.Log()
			return code == 0 && told.MatchString(said)
		}, func() string { return said })
	})
}
