package cluster

import "testing"

// An account that notices nothing proves nothing.
func TestAccount_noticesEachFault(t *testing.T) {
	good := Account{Submitted: 10, Succeeded: 9, Once: map[string]int{"worker_lost": 1}}
	if faults := good.Check(1, "worker_lost"); faults != nil {
		t.Errorf("a good account has %v", faults)
	}
	for name, spoil := range map[string]func(*Account){
		"vanished call":            func(a *Account) { a.Submitted++ },
		"call without outcome":     func(a *Account) { a.Submitted++; a.Lost++ },
		"foreign result":           func(a *Account) { a.Succeeded--; a.Wrong++ },
		"failed idempotent call":   func(a *Account) { a.Succeeded--; a.Again = map[string]int{"worker_lost": 1} },
		"more failures than calls": func(a *Account) { a.Succeeded--; a.Once["worker_lost"]++ },
		"unexpected code":          func(a *Account) { a.Once = map[string]int{"internal": 1} },
		"no success":               func(a *Account) { a.Submitted, a.Succeeded = 1, 0 },
	} {
		var bad Account
		bad.Add(good)
		spoil(&bad)
		if bad.Check(1, "worker_lost") == nil {
			t.Errorf("%s goes unnoticed", name)
		}
	}
}
