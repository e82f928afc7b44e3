//go:build race

package zmtp

// raceDetector says that goroutines which pass something on by a connection have to
// do so by package syscall: it alone tells the detector what comes after what. And
// pools drop what they are given at random, so that allocations cannot be counted.
const raceDetector = true
