// Command holder holds a file open, as a backup or a virus scanner may, until 300 ms after
// a file appears that matches a pattern: the sign that somebody is about to replace
// the first one.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: holder FILE PATTERN")
		os.Exit(2)
	}
	if err := hold(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// hold makes a file beside the held one, with ".held" at the end of its name.
func hold(file, pattern string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.WriteFile(file+".held", nil, 0o600); err != nil {
		return err
	}
	for {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			time.Sleep(300 * time.Millisecond) // less than the two seconds for which package atomicfile waits
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
}
