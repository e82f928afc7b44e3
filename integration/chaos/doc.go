// Package chaos breaks a running system and proves that no call vanished. A
// broker, workers and clients run as processes of their own, under CURVE, while
// a seeded schedule kills, stops, cuts and starves them. Clients and workers
// write journals before they act; at the end an offline checker joins the
// journals with the broker's counters into an Account and says what contradicts
// the promise that every accepted call ends exactly once, and that a call which
// is not idempotent never runs twice.
//
// The programs are the test binary itself, run again under another role: see Main.
package chaos
