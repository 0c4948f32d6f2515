// Command routereflector is a route reflector (RFC 4456, Section 6) for IPv4 and IPv6 unicast, and EVPN with -evpn:
// passive, clients by address range, next hops kept, no routes in the kernel.
//
//	routereflector -as 65000 -router-id 10.77.0.1 -listen 10.77.0.1:179 -clients 10.77.0.0/24 -add-path
//
// See `routereflector -help` for the flags, and package app for how it is built
// from bgp and bfd.
package main

import (
	"os"

	"github.com/hyperfib/hyperfib/examples/routereflector/app"
)

func main() { os.Exit(app.Main(os.Args[1:])) }
