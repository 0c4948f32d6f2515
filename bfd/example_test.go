package bfd_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

// Watch a neighbour from within the process. It needs CAP_NET_RAW.
func ExampleServer() {
	server, err := bfd.NewServer(bfd.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	watcher := server.Watch()
	err = server.Add(bfd.SessionConfig{
		Key:          bfd.Key{Peer: netip.MustParseAddr("192.0.2.2"), Local: netip.MustParseAddr("192.0.2.1"), Interface: "eth0"},
		DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 50 * time.Millisecond, Multiplier: 3,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() {
		for event, err := range watcher.All(ctx) {
			if err != nil {
				return
			}
			fmt.Println(event)
		}
	}()
	fmt.Println(server.Run(ctx))
}

// The state machine alone, over a transport of one's own: here the two ends of a
// session call each other.
func ExampleSession() {
	config := bfd.SessionConfig{DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 50 * time.Millisecond, Multiplier: 3}
	a, _ := bfd.NewSession(config, 1, 11, 0)
	b, _ := bfd.NewSession(config, 2, 22, 0)
	names := map[*bfd.Session]string{a: "a", b: "b"}

	var deliver func(from, to *bfd.Session, now time.Duration)
	deliver = func(from, to *bfd.Session, now time.Duration) {
		packet, err := bfd.ParsePacket(from.AppendPacket(nil, now))
		if err != nil {
			fmt.Println(err)
			return
		}
		effects := to.Receive(now, &packet)
		if effects&bfd.EffectState != 0 {
			state, _, _ := to.State()
			fmt.Println(names[to], state)
		}
		if effects&bfd.EffectSend != 0 {
			deliver(to, from, now)
		}
	}
	deliver(a, b, time.Millisecond)

	// b hears nothing for the detection time.
	if b.Advance(time.Second)&bfd.EffectState != 0 {
		state, reason, _ := b.State()
		fmt.Printf("b %v: %v\n", state, reason)
	}
	// Output:
	// b Init
	// a Up
	// b Up
	// b Down: expired
}

func ExampleParsePacket() {
	_, err := bfd.ParsePacket([]byte("no control packet, but 24 octets long"))
	fmt.Println(err)
	p := bfd.Packet{State: bfd.StateUp, Multiplier: 3, MyDiscr: 7, YourDiscr: 9, DesiredMinTx: 50 * time.Millisecond}
	b, _ := p.AppendBinary(nil)
	q, err := bfd.ParsePacket(b)
	fmt.Println(q.State, q.MyDiscr, q.DesiredMinTx, err)
	// Output:
	// bfd: packet: version is not 1
	// Up 7 50ms <nil>
}

// Sessions that live in a process of their own, and outlive this one.
func ExampleClient() {
	client, err := bfd.NewClient(bfd.ClientConfig{Socket: "/run/hvrouter/bfd.sock", Name: "hvrouter"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go client.Run(ctx) // reconnects for ever, and adds what was asked for again
	_ = client.Add(bfd.SessionConfig{Key: bfd.Key{Peer: netip.MustParseAddr("192.0.2.2")}})
	_ = client.Synced() // whatever an earlier life had beyond this may go
}
