package env

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
)

// Loopback returns an address of this host, 127.x.y.z, for one test alone. A
// server that is to come back on its port needs one: connections of other tests
// start from 127.0.0.1, at any port that nobody listens on at the moment, and a
// port that was free a moment ago may be one of theirs by now. Only Linux
// answers to the whole of 127/8; elsewhere it is 127.0.0.1.
func Loopback() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	for {
		ip := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
		if l, err := net.Listen("tcp", net.JoinHostPort(ip, "8006")); err == nil {
			l.Close()
			return ip
		}
	}
}
