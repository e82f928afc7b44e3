//go:build race

package broker

// raceDetector says that pools drop what they are given at random, so that
// allocations cannot be counted.
const raceDetector = true
