package fakekernel

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// received empties a socket, and says what was in it.
func received(s *Socket) string {
	var list []string
	b := make([]byte, rtnl.DatagramSize)
	for {
		n, err := s.Receive(b)
		if errors.Is(err, unix.EAGAIN) {
			return strings.Join(list, ", ")
		} else if err != nil {
			list = append(list, err.Error())
			if errors.Is(err, unix.EBADF) {
				return strings.Join(list, ", ")
			}
			continue
		}
		for m := range rtnl.Messages(b[:n]) {
			w := fmt.Sprintf("%d seq %d port %d", m.Type, m.Seq, m.Port)
			if m.Type == rtnl.NLMSG_ERROR {
				w = fmt.Sprintf("answer %d: %v", m.Seq, m.Err())
			}
			if m.Flags&rtnl.NLM_F_DUMP_INTR != 0 {
				w += " interrupted"
			}
			list = append(list, w)
		}
	}
}

func request(prefix byte, seq uint32, flags uint16) []byte {
	m := wire.RouteMessage{Table: 90, Bits: 16, Lo: uint64(prefix) << 16, NextHops: []wire.NextHop{{IfIndex: 2, Weight: 1}}}
	m.Lo |= 10 << 24
	m.Family, m.Type = wire.FamilyIPv4, wire.RouteUnicast
	return wire.AppendRoute(nil, rtnl.RTM_NEWROUTE, rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL|flags, seq, &m, true)
}

// TestSocket: what is answered, who is notified, and what can go wrong.
func TestSocket(t *testing.T) {
	k := host(t)
	f := &Faults{Interrupted: map[uint16]int{}}
	commands, monitor, other := k.Open(10, f), k.Open(11, f), k.Open(12, nil)
	for _, s := range []*Socket{monitor, other} {
		_ = s.Join(rtnl.RTNLGRP_IPV4_ROUTE)
	}
	_ = monitor.Ignore(10)
	woken := 0
	monitor.OnReady = func() { woken++ }
	send := func(b ...[]byte) {
		t.Helper()
		for _, b := range b {
			if err := commands.Send(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(what string, s *Socket, want string) {
		t.Helper()
		if got := received(s); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	send(append(request(1, 1, 0), request(1, 2, 0)...), request(2, 3, rtnl.NLM_F_ACK))
	check("answers", commands, "answer 2: file exists, answer 3: <nil>")
	check("its own", monitor, "")
	check("another's", other, "24 seq 0 port 10, 24 seq 0 port 10")

	f.Errno, f.ErrnoLeft = map[uint16]unix.Errno{0: unix.ENOBUFS}, 1
	send(request(3, 4, 0), request(3, 5, 0))
	check("the next request fails", commands, "answer 4: no buffer space available")
	f.LoseReply = 1
	send(request(3, 6, 0))
	check("the answer is lost", commands, "no buffer space available")
	f.LoseReply = 0

	if woken > 0 {
		t.Error("woken for nothing")
	}
	k.Do(99, request(4, 1, 0))
	check("a notification", monitor, "24 seq 0 port 99")
	f.Late = true
	k.Do(99, request(5, 1, 0))
	if check("not yet", monitor, ""); woken != 1 || monitor.Pending() != 1 {
		t.Errorf("woken %d times", woken)
	}
	f.Late, f.Twice = false, true
	k.Wake()
	k.Do(99, request(6, 1, 0))
	if check("late, and twice", monitor, "24 seq 0 port 99, 24 seq 0 port 99, 24 seq 0 port 99"); woken < 3 {
		t.Errorf("woken %d times", woken)
	}
	f.Twice, f.LoseNotification = false, 1
	k.Do(99, request(7, 1, 0))
	check("lost", monitor, "no buffer space available")
	f.LoseNotification = 0
	k.Do(99, request(8, 1, 0))
	monitor.Overflow()
	check("overflow", monitor, "no buffer space available")

	dump := append([]byte{rtnl.AF_INET}, make([]byte, rtnl.SizeRoute-1)...)
	f.Interrupted[rtnl.RTM_GETROUTE] = 1 // and it leaves one of the 8 out
	send(rtnl.DumpRequest(rtnl.RTM_GETROUTE, dump...))
	if s := received(commands); strings.Count(s, "24 seq 1 port 10 interrupted") != 7 || !strings.HasSuffix(s, "3 seq 1 port 10 interrupted") {
		t.Errorf("interrupted dump: %s", s)
	}
	f.DumpErrno, f.DumpErrors = unix.ENOMEM, 1
	send(rtnl.DumpRequest(rtnl.RTM_GETROUTE, dump...))
	if s := received(commands); strings.Count(s, "24 seq 1") != 6 || !strings.HasSuffix(s, "cannot allocate memory") {
		t.Errorf("dump that breaks off: %s", s)
	}
	_ = monitor.Close()
	k.Do(99, request(9, 1, 0))
	if check("closed", monitor, "bad file descriptor"); !errors.Is(monitor.Send(nil), unix.EBADF) {
		t.Error("a closed socket sends")
	}
}

// TestChanges: each change is reported once, with who did it and what followed from it.
func TestChanges(t *testing.T) {
	k := host(t)
	object(t, k, wire.NextHopMessage{ID: 1, Family: wire.FamilyIPv4, IfIndex: 2})
	object(t, k, wire.NextHopMessage{ID: 2, Members: []wire.Member{{ID: 1, Weight: 1}}})
	add(t, k, 90, wire.RouteUnicast, "10.1.0.0/16", 0, 2)
	var got []string
	k.OnChange = func(c Change) {
		got = append(got, fmt.Sprintf("port %d cascade %v: route %v next hop %v", c.Port, c.Cascade, c.OldRoute != nil, c.OldNextHop != nil))
	}
	requests := 0
	k.OnRequest = func(port uint32, m rtnl.Message, err unix.Errno) { requests++ }
	if err := k.Do(5, wire.AppendDelNextHop(nil, 1, 1)); err != 0 {
		t.Fatal(err)
	}
	want := []string{"port 5 cascade false: route false next hop true", "port 5 cascade true: route false next hop true", "port 5 cascade true: route true next hop false"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || requests != 1 {
		t.Errorf("%d requests, changes\n%s", requests, strings.Join(got, "\n"))
	}
	if len(k.NextHops()) > 0 || len(k.Routes()) > 0 {
		t.Error("something is left")
	}
}
