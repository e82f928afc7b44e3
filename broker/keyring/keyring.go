// Package keyring decides who may connect to a broker, as what, and to call
// what. Its source is a folder of public certificates, which it follows: a
// certificate that appears admits its key, one that goes ends its admission
// within a second, and one in the sub-folder "revoked" forbids its key.
package keyring

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
)

// Status says what the keyring knows of a key.
type Status uint8

// The statuses of a key.
const (
	Unknown  Status = iota // no certificate of it
	Admitted               // a certificate admits it
	Revoked                // it was admitted once, and is not to come back
)

// String returns the status in one word.
func (s Status) String() string {
	return [...]string{"unknown", "admitted", "revoked"}[s]
}

// Entry is what a certificate says of its key. Entries are values: a change of
// the certificate does not reach those that were looked up before.
type Entry struct {
	Key  curve.PublicKey
	Role curve.Role
	Name string // from the certificate, else of its file
	File string // in the followed folder

	methods []string // allow list; empty allows all
}

// Intervals of following the folder. Together they keep the promise of a second:
// a change is seen within poll and holds after settle.
const (
	// poll is how often the folder is read although the system reported nothing:
	// network and container file systems do not report changes made elsewhere.
	poll = 500 * time.Millisecond
	// settle is how long a file must not change before its content counts, and
	// how long it must be missing to be gone: editors and copies take a moment.
	settle = 100 * time.Millisecond
	// share bounds the time spent reading a folder of thousands of keys in which
	// nothing changes: a look is followed by a pause of so many times its length.
	share = 50
)

// Keyring follows one folder. Lookups take no lock.
type Keyring struct {
	current atomic.Pointer[snapshot]

	cancel context.CancelFunc
	done   chan struct{} // closed when the follower has ended

	mu       sync.Mutex
	onRemove []func(curve.PublicKey) // guarded by mu
	changing chan struct{}           // closed when the change that was noticed counts; nil without one; guarded by mu
}

// Open reads the folder and follows it until ctx ends or Close is called. The
// error names what is wrong with the folder; bad certificates in it are logged
// and admit nobody.
func Open(ctx context.Context, dir string, log *slog.Logger) (*Keyring, error) {
	notices, watchErr := watch(dir) // before the first look, so that nothing falls between
	k, err := open(ctx, dir, log, notices)
	if err != nil {
		if notices != nil {
			notices.Close()
		}
		return nil, err
	}
	if watchErr != nil {
		log.Warn("the system does not report changes of the public-key folder; it is only read every half second", "dir", dir, "err", watchErr)
	}
	return k, nil
}

// open is Open with the system's notices, nil for none.
func open(ctx context.Context, dir string, log *slog.Logger, notices *notices) (*Keyring, error) {
	f := &folder{dir: dir, log: log, files: make(map[string]*file)}
	if err := f.load(time.Now()); err != nil {
		return nil, err
	}
	k := &Keyring{done: make(chan struct{})}
	first := f.snapshot()
	k.current.Store(first)
	log.Info("keys loaded", "dir", dir, "admitted", len(first.admitted), "revoked", len(first.revoked))
	ctx, k.cancel = context.WithCancel(ctx)
	go k.follow(ctx, f, notices)
	return k, nil
}

// Close stops following and returns when no callback runs any more. Lookups go
// on to answer from the last state.
func (k *Keyring) Close() {
	k.cancel()
	<-k.done
}

// Lookup returns what is known of key. The entry is zero unless it is Admitted.
func (k *Keyring) Lookup(key curve.PublicKey) (Entry, Status) {
	return k.current.Load().lookup(key)
}

// Expect is Lookup, but gives an unknown key the moment in which a change of the
// folder that was noticed comes to count: who makes a key and uses it at once is
// admitted.
func (k *Keyring) Expect(key curve.PublicKey) (Entry, Status) {
	e, status := k.Lookup(key)
	k.mu.Lock()
	changing := k.changing
	k.mu.Unlock()
	if status != Unknown || changing == nil {
		return e, status
	}
	timer := time.NewTimer(poll) // files may be written for ever
	defer timer.Stop()
	select {
	case <-changing:
	case <-k.done:
	case <-timer.C:
	}
	return k.Lookup(key)
}

// noticed says that the folder has changed, or with false that all changes count.
func (k *Keyring) noticed(change bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case change && k.changing == nil:
		k.changing = make(chan struct{})
	case !change && k.changing != nil:
		close(k.changing)
		k.changing = nil
	}
}

// Holds reports whether what e grants still holds: its key is admitted, and as
// what e says.
func (k *Keyring) Holds(e Entry) bool {
	now, status := k.Lookup(e.Key)
	return status == Admitted && now.same(e)
}

// Len returns how many keys are admitted.
func (k *Keyring) Len() int { return len(k.current.Load().admitted) }

// OnRemove registers a function to be called for each key whose admission has
// ended or changed: whatever was granted to its sessions no longer holds. Calls
// come from one goroutine, after lookups give the new state, so a session that
// is looked up again after it was registered with the caller cannot be missed.
func (k *Keyring) OnRemove(f func(curve.PublicKey)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.onRemove = append(k.onRemove, f)
}

// follow owns f. It ends with ctx.
func (k *Keyring) follow(ctx context.Context, f *folder, n *notices) {
	defer close(k.done)
	var changed <-chan struct{}
	if n != nil {
		defer n.Close()
		changed = n.C
	}
	timer := time.NewTimer(poll)
	defer timer.Stop()
	due := time.Now().Add(poll)
	for {
		wait := poll
		select {
		case <-ctx.Done():
			return
		case <-changed:
			k.noticed(true)
			// Not read at once: one copy into the folder is many notices. Nor ever
			// later than it would be: notices may not end.
			wait = min(settle/2, time.Until(due))
		case now := <-timer.C:
			if f.refresh(now) {
				k.replace(f.snapshot(), f.log)
			}
			if f.unsettled {
				wait = settle
			} else {
				k.noticed(false)
				wait = max(poll, share*time.Since(now))
			}
		}
		due = time.Now().Add(wait)
		timer.Reset(wait)
	}
}

// replace makes next the state, logs what changed and tells those who asked.
func (k *Keyring) replace(next *snapshot, log *slog.Logger) {
	last := k.current.Swap(next)
	next.log(log, last)
	k.mu.Lock()
	callbacks := k.onRemove
	k.mu.Unlock()
	for _, key := range next.ended(last) {
		for _, f := range callbacks {
			f(key)
		}
	}
}
