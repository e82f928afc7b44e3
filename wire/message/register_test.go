package message

import (
	"strings"
	"testing"
)

func TestSameSpelling(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"return_non_sense", "ReturnNonSense", true},
		{"add", "ADD", true},
		{"add", "a_d_d", true},
		{"add", "adds", false},
		{"add", "", false},
	} {
		if got := SameSpelling(c.a, c.b); got != c.want {
			t.Errorf("SameSpelling(%q, %q) = %v", c.a, c.b, got)
		}
	}
}

func TestAttach_Validate(t *testing.T) {
	for _, c := range []struct {
		attach Attach
		ok     bool
	}{
		{Attach{}, true},
		{Attach{Name: "host: zcall", Version: "v1.2.3"}, true},
		{Attach{Name: strings.Repeat("n", MaxClientName)}, true},
		{Attach{Name: strings.Repeat("n", MaxClientName+1)}, false},
		{Attach{Name: "bell\a"}, false},
		{Attach{Name: "\xff"}, false},
		{Attach{Version: strings.Repeat("v", MaxWorkerID+1)}, false},
	} {
		if e := c.attach.Validate(); (e == nil) != c.ok {
			t.Errorf("%+v: %v", c.attach, e)
		}
	}
}
