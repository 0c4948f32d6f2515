// Command hvrouter turns a Linux hypervisor into a router: `hvrouter help` lists
// what it can do, hv1.yaml is a commented configuration.
package main

import (
	"os"

	"github.com/hyperfib/hyperfib/examples/hvrouter/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
