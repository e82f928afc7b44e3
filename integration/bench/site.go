package bench

import "os"

// Site is the folder in which a run's processes write, and what they share.
type Site struct {
	Dir  string // for keys, configurations and logs
	Self string // a binary that calls Role
	Bin  string // the folder of the binaries broker and bench
}

// NewSite makes a folder; Close removes it.
func NewSite(bin string) (*Site, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "servicetools-bench-")
	if err != nil {
		return nil, err
	}
	return &Site{Dir: dir, Self: self, Bin: bin}, nil
}

// Close removes what the run wrote.
func (s *Site) Close() error { return os.RemoveAll(s.Dir) }
