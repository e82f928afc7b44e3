// Command forker is a worker that starts another program, itself, which does not
// end by itself: it has to end with the worker.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/servicetools/servicetools/workersdk"
)

// forker has one method.
type forker struct{}

// Family returns how many processes this worker is.
func (forker) Family() int { return 2 }

func main() {
	switch {
	case slices.Contains(os.Args[1:], "child"):
		time.Sleep(24 * time.Hour)
	case len(os.Args) > 1 && os.Args[1] != "init":
		if err := exec.Command(os.Args[0], "child").Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	workersdk.Main(forker{})
}
