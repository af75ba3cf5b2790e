//go:build !race

package fulltest

// withRaceDetector says that this program is built with the race detector, which makes it several times slower.
const withRaceDetector = false
