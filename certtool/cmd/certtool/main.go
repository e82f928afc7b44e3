// The command certtool makes and looks after CURVE certificates.
package main

import (
	"os"

	"github.com/servicetools/servicetools/certtool"
)

func main() { os.Exit(certtool.Main(os.Args, os.Stdout, os.Stderr)) }
