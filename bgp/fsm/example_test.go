package fsm_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
)

// A peer that falls silent: the caller's connection opens, OPENs and KEEPALIVEs are
// exchanged, and then nothing comes for the hold time.
func ExampleMachine() {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	m := fsm.New(fsm.Config{RouterID: netip.MustParseAddr("192.0.2.1"), AS: 65000})
	show := func(now time.Time) {
		for _, e := range m.Effects() {
			fmt.Printf("%v %v\n", now.Sub(start), e)
		}
	}
	open := &fsm.Negotiated{RemoteAS: 65000, RemoteID: netip.MustParseAddr("192.0.2.2"), HoldTime: 90 * time.Second}
	for i, ev := range []fsm.Event{
		{Kind: fsm.EventManualStart},
		{Kind: fsm.EventConnAcked, Conn: 1},
		{Kind: fsm.EventOpen, Conn: 1, Negotiated: open},
		{Kind: fsm.EventKeepalive, Conn: 1},
	} {
		now := start.Add(time.Duration(i) * time.Millisecond)
		m.Step(now, ev)
		show(now)
	}
	for m.State() == fsm.Established {
		now := m.Deadline()
		m.Advance(now)
		show(now)
	}
	fmt.Println(m.State())
	// Output:
	// 0s dial 1
	// 1ms OPEN 1
	// 2ms KEEPALIVE 1
	// 3ms up 1
	// 30.002s KEEPALIVE 1
	// 1m0.002s KEEPALIVE 1
	// 1m30.002s KEEPALIVE 1
	// 1m30.003s NOTIFICATION 1 4/0
	// 1m30.003s down 1 by HoldTimer_Expires 4/0
	// 1m30.003s close 1
	// Idle
}
