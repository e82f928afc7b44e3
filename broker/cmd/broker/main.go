// The command broker runs a broker and looks after running ones.
package main

import (
	"os"

	"github.com/servicetools/servicetools/broker/command"
)

func main() { os.Exit(command.Main(os.Args, os.Stdout, os.Stderr)) }
