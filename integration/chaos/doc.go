// Package chaos breaks a running system and proves that no call vanished. A
// broker, workers and clients run under CURVE while a schedule kills, stops,
// cuts and starves them. Clients and workers write journals before they act; at
// the end an offline checker joins the journals with the broker's counters into
// an Account and says what contradicts the promise that every accepted call
// ends exactly once, and that a call which is not idempotent never runs twice.
//
// A Run is one such system on a Cluster: goroutines of the test, processes, or,
// in integration/cluster, containers. Cases is what happens on all three;
// TestFault_* and TestSoak are what only processes can suffer. Their programs are
// the test binary itself, run again under another role: see Main.
package chaos
