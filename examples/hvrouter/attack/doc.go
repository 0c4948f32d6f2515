// Package attack is a test of what hostile guests cost others. A guest, a tap that is
// no guest, and a stranger behind the uplink send floods of every kind that is known
// to fill a table of the kernel; meanwhile another guest meets next hops for the first
// time and opens connections, the hypervisor's sessions are reset, and everything that
// gets lost is counted, beside a run without the flood.
//
// It needs root, BIRD 2 and some minutes, and it shares the kernel's neighbour tables
// with everything else on the machine:
//
//	go test ./examples/hvrouter/attack -v                  # one rate
//	go test ./examples/hvrouter/attack -v -rates 400,2000,10000
//	go test ./examples/hvrouter/attack -v -kinds nd,rs     # those whose names contain a word
package attack
