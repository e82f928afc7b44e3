package chaos

import (
	"fmt"
	"os"

	"github.com/servicetools/servicetools/broker/command"
)

// RoleVariable names the environment variable that makes a process something
// else than the test.
const RoleVariable = "CHAOS_ROLE"

// The roles.
const (
	RoleBroker = "broker" // the command broker
	RoleWorker = "worker" // a worker program that serves ledger
	RoleClient = "client" // a client that makes a Load
)

// Main ends the process as another program if it was started as one, and
// returns otherwise. The package's TestMain calls it first.
func Main() {
	switch role := os.Getenv(RoleVariable); role {
	case "":
		return
	case RoleBroker:
		os.Exit(command.Main(append([]string{"broker"}, os.Args[1:]...), os.Stdout, os.Stderr))
	case RoleWorker:
		runWorker()
	case RoleClient:
		if err := runClient(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	default:
		fmt.Fprintf(os.Stderr, "chaos: there is no role %q\n", role)
		os.Exit(2)
	}
}
