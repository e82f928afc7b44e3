package chaos

import (
	"fmt"
	"os"

	"github.com/servicetools/servicetools/broker/command"
)

// roleVariable names the environment variable that makes a process something
// else than the test.
const roleVariable = "CHAOS_ROLE"

// The roles.
const (
	roleBroker = "broker" // the command broker
	roleWorker = "worker" // a worker program that serves ledger
	roleClient = "client" // runClient
)

// Main ends the process as another program if it was started as one, and
// returns otherwise. The package's TestMain calls it first.
func Main() {
	switch role := os.Getenv(roleVariable); role {
	case "":
		return
	case roleBroker:
		os.Exit(command.Main(append([]string{"broker"}, os.Args[1:]...), os.Stdout, os.Stderr))
	case roleWorker:
		runWorker()
	case roleClient:
		os.Exit(runClient(os.Args[1:]))
	default:
		fmt.Fprintf(os.Stderr, "chaos: there is no role %q\n", role)
		os.Exit(2)
	}
}
