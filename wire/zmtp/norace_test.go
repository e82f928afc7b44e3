//go:build !race

package zmtp

// raceDetector says that allocations can be counted.
const raceDetector = false
