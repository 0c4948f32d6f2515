package bfd

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// TestTimers compares the heap with a search through everything.
func TestTimers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var h timers
	all := make([]*entry, 200)
	at := map[*entry]time.Duration{}
	for i := range all {
		all[i] = &entry{place: -1}
	}
	for range 5000 {
		e := all[rnd.IntN(len(all))]
		if rnd.IntN(4) == 0 {
			h.remove(e)
			delete(at, e)
		} else {
			at[e] = time.Duration(rnd.IntN(1000))
			h.set(e, at[e])
		}
		if len(h) != len(at) {
			t.Fatal(len(h), len(at))
		}
		least := never
		for _, d := range at {
			least = min(least, d)
		}
		if len(h) > 0 && h[0].at != least {
			t.Fatalf("first is %v, least %v", h[0].at, least)
		}
		for i := range h {
			if h[i].e.place != i || at[h[i].e] != h[i].at {
				t.Fatal("heap is out of order at", i)
			}
		}
	}
}

// TestFrame has gopacket build the same packet, with its checksums.
func TestFrame(t *testing.T) {
	for _, a := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}} {
		local, peer := netip.MustParseAddr(a[0]), netip.MustParseAddr(a[1])
		f := newFrame(local, peer, 50000, Port)
		f.whole = true
		for n := range 4 {
			p := Packet{State: StateUp, Multiplier: 3, MyDiscr: uint32(n + 1), YourDiscr: 0xffff0000, DesiredMinTx: time.Second}
			got := f.finish(p.append(f.body()))
			udp := &layers.UDP{SrcPort: 50000, DstPort: Port}
			var ip gopacket.SerializableLayer
			if local.Is4() {
				v4 := &layers.IPv4{Version: 4, IHL: 5, TOS: cs6, TTL: 255, Protocol: layers.IPProtocolUDP, Id: uint16(n + 1), SrcIP: local.AsSlice(), DstIP: peer.AsSlice()}
				_ = udp.SetNetworkLayerForChecksum(v4)
				ip = v4
			} else {
				v6 := &layers.IPv6{Version: 6, TrafficClass: cs6, HopLimit: 255, NextHeader: layers.IPProtocolUDP, SrcIP: local.AsSlice(), DstIP: peer.AsSlice()}
				_ = udp.SetNetworkLayerForChecksum(v6)
				ip = v6
			}
			b := gopacket.NewSerializeBuffer()
			if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, udp, gopacket.Payload(p.append(nil))); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, b.Bytes()) {
				t.Errorf("got  %x\nwant %x", got, b.Bytes())
			}
		}
	}
}

// TestCell reads while another goroutine writes: no fact is ever a mixture.
func TestCell(t *testing.T) {
	var c cell
	m := newMarks(maxSessions)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 5000 {
			c.write(fact{state: StateUp, remoteC: true, since: time.Duration(i), downAt: time.Duration(i), downs: uint64(i)})
			m.mark(i % 100)
		}
	})
	for range 5000 {
		if f := c.read(); f.since != f.downAt || f.downs != uint64(f.since) {
			t.Fatalf("%+v", f)
		}
	}
	wg.Wait()
	want := fact{state: StateInit, diag: 1, downDiag: 2, remoteDiag: 3, downRemote: 4, reason: 5, downReason: 6, since: 7, downAt: 8, downs: 9}
	c.write(want)
	if got := c.read(); got != want {
		t.Errorf("%+v", got)
	}
	n := 0
	m.drain(func(int) { n++ })
	if n != 100 {
		t.Errorf("%d marks", n)
	}
	m.drain(func(int) { t.Error("marked twice") })
}

func TestConfigCheck(t *testing.T) {
	addr := netip.MustParseAddr
	for name, c := range map[string]SessionConfig{
		"no peer":                {},
		"multicast peer":         {Key: Key{Peer: addr("224.0.0.1")}},
		"two families":           {Key: Key{Peer: addr("192.0.2.1"), Local: addr("::1")}},
		"link-local without dev": {Key: Key{Peer: addr("fe80::1")}},
		"echo without interface": {Key: Key{Peer: addr("192.0.2.1"), Local: addr("192.0.2.2")}, Echo: true},
		"too fast":               {Key: Key{Peer: addr("192.0.2.1")}, DesiredMinTx: time.Microsecond},
		"receives too fast":      {Key: Key{Peer: addr("192.0.2.1")}, RequiredMinRx: time.Microsecond},
		"too slow":               {Key: Key{Peer: addr("192.0.2.1")}, DesiredMinTx: 5000 * time.Second},
		"key without type":       {Key: Key{Peer: addr("192.0.2.1")}, Auth: Auth{Keys: []AuthKey{{1, "x"}}}},
	} {
		var e *ConfigError
		if err := c.check(); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (&SessionConfig{}).check(); err.Error() != "bfd: Peer: is missing" {
		t.Error(err)
	}
	c := SessionConfig{Key: Key{Peer: addr("fe80::1%eth0"), Local: addr("fe80::2%eth0")}}
	if err := c.check(); err != nil || c.Interface != "eth0" || c.Peer.Zone() != "" || c.Multiplier != DefaultMultiplier || c.DesiredMinTx != DefaultInterval {
		t.Errorf("%+v %v", c, err)
	}
	if k := (Key{Peer: addr("::ffff:192.0.2.1")}); k.Normal().Peer != addr("192.0.2.1") {
		t.Error("mapped address kept")
	}
	if s := (Key{Peer: addr("192.0.2.1"), Local: addr("192.0.2.2"), Interface: "e", NetNS: "n", Multihop: true}).String(); s != "192.0.2.2 -> 192.0.2.1%e multihop netns n" {
		t.Error(s)
	}
	for _, c := range []Config{{Priority: 100}, {RealTime: 9}} {
		if _, err := NewServer(c); err == nil {
			t.Errorf("%+v accepted", c)
		}
	}
	if _, err := NewClient(ClientConfig{}); err == nil {
		t.Error("a client without socket")
	}
	if err := (&RealTimeError{"SCHED_FIFO", syscall.EPERM}); !errors.Is(err, syscall.EPERM) || err.Error() == "" {
		t.Error(err)
	}
}

// TestClientAlone: without a process a client remembers, and ends cleanly.
func TestClientAlone(t *testing.T) {
	c, err := NewClient(ClientConfig{Socket: t.TempDir() + "/nobody"})
	if err != nil {
		t.Fatal(err)
	}
	k := Key{Peer: netip.MustParseAddr("192.0.2.1")}
	if err := c.Add(SessionConfig{Key: k}); err != nil {
		t.Error(err)
	}
	if _, err := c.Sessions(); err != ErrNotConnected {
		t.Error(err)
	}
	if err := c.Remove(k); err != nil {
		t.Error(err)
	}
	if err := c.Remove(k); err != ErrNoSession {
		t.Error(err)
	}
	if c.Synced() != nil || c.Connected() {
		t.Error("connected to nobody")
	}
}

// A Server that is never run opens nothing.
func TestNewServerOpensNothing(t *testing.T) {
	open := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := open()
	for range 10 {
		s, err := NewServer(Config{})
		if err == nil {
			err = s.Add(SessionConfig{Key: Key{Peer: netip.MustParseAddr("192.0.2.1")}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if after := open(); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}
