//go:build !race

package zmtp

// raceDetector says that there is none.
const raceDetector = false
