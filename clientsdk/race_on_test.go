//go:build race

package clientsdk

const raceEnabled = true
