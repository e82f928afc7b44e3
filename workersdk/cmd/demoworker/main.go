// Command demoworker serves the methods of package demo.
package main

import (
	"github.com/servicetools/servicetools/workersdk"
	"github.com/servicetools/servicetools/workersdk/demo"
)

func main() { workersdk.Main(demo.Methods{}, workersdk.WithSource(demo.Source)) }
