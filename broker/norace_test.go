//go:build !race

package broker

// raceDetector says that allocations can be counted.
const raceDetector = false
