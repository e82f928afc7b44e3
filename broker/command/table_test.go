package command

import (
	"bytes"
	"os"
	"testing"

	"github.com/servicetools/servicetools/broker"
)

const tables = "testdata/tables.txt"

// TestTables_keepTheirColumns holds what the commands print to a golden file:
// people's scripts cut these columns.
func TestTables_keepTheirColumns(t *testing.T) {
	var b bytes.Buffer
	section := func(name string, err error) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b.WriteString("\n")
	}
	b.WriteString("# broker status\n")
	section("status", printStatus(&b, broker.StatusView{
		Name: "demo", ID: "71c4810e-d0f7-4f06-aa50-2fa8b8cc4be2", Version: "v0.1.0", Uptime: 12345.6, Frontend: "127.0.0.1:8006",
		Backend: "127.0.0.1:9006", Secure: true, Accepted: 110, Succeeded: 100, Failed: 5, Queued: 3, Running: 2, LawHolds: true,
		FailedBy: map[string]uint64{"worker_lost": 1, "application": 4}, HeldCalls: 5, HeldBytes: 5 << 20, Workers: 4, Rate: 12.34,
	}))
	b.WriteString("# broker workers\n")
	section("workers", printWorkers(&b, []broker.WorkerView{
		{ID: "ee8ac862-ac8d-45eb-a056-effa21c00889", Name: "gpu", State: "connected", Host: "node7", PID: 4242, Address: "10.0.0.7:5000",
			Capacity: 8, Busy: 3, Succeeded: 99, Failed: 1, Connected: 3600 * 50, Methods: 12},
		{ID: "local", Name: "a\x1b[2J\tb", State: "crash loop", Local: true, Restarts: 5, LastExit: "exit status 1"},
	}))
	b.WriteString("# broker methods\n")
	double := broker.MethodView{Name: "double", Aliases: []string{"Double"}, Signature: "Double(n int) int",
		Doc: "Double returns\n2n. It is\nquick.", Idempotent: true, Workers: 2, Queued: 1, Running: 2, Succeeded: 3, Failed: 4}
	section("methods", printMethods(&b, []broker.MethodView{double, {Name: "hold"}}))
	b.WriteString("# broker methods double\n")
	section("method", printMethod(&b, double))
	b.WriteString("# broker calls\n")
	section("calls", printCalls(&b, []broker.CallView{
		{Call: "0f3a9c52b1de44e08f6c1f0a7d9b2e61/17", Client: "bgQn82eBwm=d>C/@W!+D2QJ=xyO9f{B$IUI9!:zk", Method: "double", State: "running",
			Worker: "local", Attempt: 1, Age: 0.0421, Deadline: 29.5, Size: 70000},
		{Call: "0f3a9c52b1de44e08f6c1f0a7d9b2e61/18", Method: "double", State: "queued", Age: 61},
	}))
	b.WriteString("# broker sessions\n")
	section("sessions", printSessions(&b, []broker.SessionView{
		{Session: "0f3a9c52b1de44e08f6c1f0a7d9b2e61", Client: "bgQn82eBwm=d>C/@W!+D2QJ=xyO9f{B$IUI9!:zk", Name: "ann", Address: "10.0.0.8:5000",
			Attached: true, Calls: 2, Outcomes: 1},
	}))
	b.WriteString("# broker reload\n")
	section("reload", printReload(&b, broker.ReloadView{Applied: []string{"logging.logging_mode"}, Restart: []string{"main.port"}}))
	if *update {
		if err := os.WriteFile(tables, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(tables)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the tables are\n%s\nrun go test -update if that is meant", b.String())
	}
}

func TestSpan(t *testing.T) {
	for seconds, want := range map[float64]string{
		0: "0s", 0.0421: "42ms", 4.26: "4.3s", 61: "1m1s", 3600: "1h0m", 12345.6: "3h26m", 86400 * 3.2: "3d5h",
	} {
		if got := span(seconds); got != want {
			t.Errorf("span(%v) = %s, want %s", seconds, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 20: "5.0 MiB", 3 << 40: "3.0 TiB"} {
		if got := size(bytes); got != want {
			t.Errorf("size(%d) = %s, want %s", bytes, got, want)
		}
	}
}

func TestExampleCall_picksWhatCanBeFilled(t *testing.T) {
	for _, test := range []struct {
		want    string
		methods []broker.MethodView
	}{
		{"add 1 2", []broker.MethodView{{Name: "count", Signature: "Count(in In) int"}, {Name: "add", Signature: "Add(a int, b int) int"}}},
		{`echo '"hello"'`, []broker.MethodView{{Name: "echo", Signature: "Echo(string) string"}}},
		{"describe count", []broker.MethodView{{Name: "count", Signature: "Count(in In) int"}, {Name: "none", Signature: "None()"}}},
		{"describe plain", []broker.MethodView{{Name: "plain"}}},
		{"broker.methods", nil},
	} {
		if got := exampleCall(test.methods); got != test.want {
			t.Errorf("exampleCall(%v) = %s, want %s", test.methods, got, test.want)
		}
	}
}
