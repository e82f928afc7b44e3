package command

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

func TestExitCode(t *testing.T) {
	step := func(s zmtp.Step) error { return &zmtp.StepError{Step: s, Err: errors.New("x")} }
	for _, test := range []struct {
		want int
		err  error
	}{
		{ExitOK, nil},
		{ExitFailure, errors.New("x")},
		{ExitUsage, usagef("x")},
		{ExitConfig, badConfig(errors.New("x"))},
		{ExitOK, badConfig(nil)},
		{ExitUnauthorized, &foundError{ExitUnauthorized}},
		{ExitInterrupted, context.Canceled},
		{ExitDeadline, context.DeadlineExceeded},
		{ExitUnavailable, step(zmtp.StepResolve)},
		{ExitUnavailable, step(zmtp.StepConnect)},
		{ExitUnavailable, step(zmtp.StepGreeting)},
		{ExitConfig, step(zmtp.StepMechanism)},
		{ExitConfig, step(zmtp.StepServerKey)},
		{ExitUnauthorized, step(zmtp.StepAuthorise)},
		{ExitQueueFull, &zmtp.StepError{Step: zmtp.StepAuthorise, Err: &zmtp.Refusal{Status: "300", ByPeer: true}}},
		{ExitUnavailable, &zmtp.StepError{Step: zmtp.StepConnect, Err: context.DeadlineExceeded}},
		{ExitUnavailable, message.ErrConnectionLost},
		{ExitUnavailable, message.ErrShuttingDown},
		{ExitUnavailable, message.ErrNoWorker},
		{ExitQueueFull, message.ErrQueueFull},
		{ExitUnauthorized, message.ErrUnauthorized},
		{ExitDeadline, message.ErrDeadlineInQueue},
		{ExitFailure, message.ErrBadArgs},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%v exits with %d, want %d", test.err, got, test.want)
		}
		if test.err != nil {
			if got := exitCode(fmt.Errorf("wrapped: %w", test.err)); got != test.want {
				t.Errorf("%v, wrapped, exits with %d, want %d", test.err, got, test.want)
			}
		}
	}
}

func TestClock_seesClocksThatAreApart(t *testing.T) {
	now := time.Now()
	for text, want := range map[string]string{
		now.Format(time.RFC3339Nano):                  statusOK,
		now.Add(time.Second).Format(time.RFC3339Nano): statusOK,
		now.Add(time.Hour).Format(time.RFC3339Nano):   statusNote,
		now.Add(-time.Hour).Format(time.RFC3339Nano):  statusNote,
		"noon": statusNote,
	} {
		var e examination
		e.clock(text, now, time.Millisecond)
		if f := e.findings[0]; f.Status != want {
			t.Errorf("at %s it finds %+v", text, f)
		}
	}
}
