package env

import (
	"flag"
	"runtime"
	"strconv"
)

// SetParallel has three parallel tests run at once on two processors, unless
// -parallel says how many. It is for the TestMain of a package whose tests wait
// more than they compute.
func SetParallel() {
	flag.Parse()
	const name = "test.parallel"
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if !given {
		_ = flag.Set(name, strconv.Itoa((3*runtime.GOMAXPROCS(0)+1)/2)) // a flag of package testing
	}
}
