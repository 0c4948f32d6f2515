package bfdtest_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bfd/bfdtest"
)

// How long does it take to notice that the other end is dead, and that one direction is
// cut?
func ExamplePair() {
	fast := bfd.SessionConfig{DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 50 * time.Millisecond, Multiplier: 3}
	pair, err := bfdtest.NewPair(fast, fast, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	show := func(what string, since time.Duration, changes []bfdtest.Change) {
		fmt.Println(what)
		for _, c := range changes {
			fmt.Printf("  %s %v %v, within 150 ms: %v\n", c.End, c.State, c.Reason, c.At-since <= 150*time.Millisecond)
		}
	}
	pair.Run(5 * time.Second)

	now := pair.Now()
	pair.A.Link.Loss = 1 // what A sends is lost
	show("one direction is cut", now, pair.Run(time.Second))

	pair.A.Link.Loss = 0
	pair.Run(5 * time.Second)
	now = pair.Now()
	pair.B.Stopped = true
	show("one end is dead", now, pair.Run(time.Second))
	// Output:
	// one direction is cut
	//   B Down expired, within 150 ms: true
	//   A Down neighbor down, within 150 ms: true
	// one end is dead
	//   A Down expired, within 150 ms: true
}

// A program that acts upon failures, and its test.
func ExampleService() {
	service := &bfdtest.Service{} // a *bfd.Server or *bfd.Client in production
	peer := bfd.Key{Peer: netip.MustParseAddr("192.0.2.1"), Interface: "eth0"}
	failed := make(chan bfd.Key)
	program := func(ctx context.Context, s bfd.Service) {
		_ = s.Add(bfd.SessionConfig{Key: peer})
		for e, err := range s.Watch().Failures(ctx) {
			if err != nil {
				return
			}
			failed <- e.Key
		}
	}

	// The session must be there before the test takes it up.
	_ = service.Add(bfd.SessionConfig{Key: peer})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go program(ctx, service)
	_ = service.Up(peer)
	_ = service.Down(peer, bfd.ReasonRemoteAdminDown) // no failure
	_ = service.Up(peer)
	_ = service.Down(peer, bfd.ReasonExpired)
	fmt.Println(<-failed)
	// Output: 192.0.2.1%eth0
}
