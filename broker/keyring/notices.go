package keyring

import (
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	"github.com/servicetools/servicetools/wire/curve"
)

// notices are the system's reports that something in a folder changed, without
// saying what: the folder is read anyway.
type notices struct {
	C    <-chan struct{} // of one element: any number of changes are one notice
	stop func()
}

func watch(dir string) (*notices, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := watcher.Add(dir); err != nil {
		watcher.Close()
		return nil, err
	}
	revoked := filepath.Join(dir, curve.RevokedDir)
	_ = watcher.Add(revoked) // it need not exist; a revocation shows in dir as well
	c, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		forward(watcher, c)
	}()
	return &notices{C: c, stop: func() {
		watcher.Close()
		<-done
	}}, nil
}

// forward ends when the watcher is closed.
func forward(watcher *fsnotify.Watcher, c chan<- struct{}) {
	for {
		select {
		case _, ok := <-watcher.Events:
			if !ok {
				return
			}
		case _, ok := <-watcher.Errors: // an overflow: something has changed
			if !ok {
				return
			}
		}
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Close returns when the watcher's goroutines have ended.
func (n *notices) Close() { n.stop() }
