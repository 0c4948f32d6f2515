package arp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"
)

// ProbeTiming are the constants of RFC 5227, Section 1.1, which the zero value of
// each field stands for. A field that shall be nothing is set to a nanosecond.
type ProbeTiming struct {
	Wait         time.Duration  // PROBE_WAIT, 1 s: the first probe goes at random within it
	Count        int            // PROBE_NUM, 3
	MinInterval  time.Duration  // PROBE_MIN, 1 s between probes at least
	MaxInterval  time.Duration  // PROBE_MAX, 2 s at most
	AnnounceWait time.Duration  // ANNOUNCE_WAIT, 2 s of silence after the last probe
	Rand         func() float64 // from [0,1); nil: math/rand/v2
}

func (t *ProbeTiming) fill() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.Wait, time.Second)
	def(&t.MinInterval, time.Second)
	def(&t.MaxInterval, 2*time.Second)
	def(&t.AnnounceWait, 2*time.Second)
	if t.Count == 0 {
		t.Count = 3
	}
	if t.Rand == nil {
		t.Rand = rand.Float64
	}
}

// Prober is the state of one probe for an address (RFC 5227, Section 2.1.1). It is
// pure: time and packets in, decisions out. Not safe for concurrent use.
type Prober struct {
	mac    MAC         // ours
	ip     IP          // the address that is probed
	timing ProbeTiming // with defaults
	sent   int         // probes so far
	next   time.Time   // when to act again
}

// NewProber starts to probe for ip on behalf of mac.
func NewProber(now time.Time, mac MAC, ip netip.Addr, t ProbeTiming) *Prober {
	t.fill()
	return &Prober{mac: mac, ip: IPFrom(ip), timing: t, next: now.Add(time.Duration(t.Rand() * float64(t.Wait)))}
}

// Deadline returns when Advance has something to return.
func (p *Prober) Deadline() time.Time { return p.next }

// Advance returns whether a probe is to be sent now, and whether the address has
// turned out to be free.
func (p *Prober) Advance(now time.Time) (send, free bool) {
	switch {
	case now.Before(p.next):
		return false, false
	case p.sent == p.timing.Count:
		return false, true
	}
	p.sent++
	if p.sent == p.timing.Count {
		p.next = now.Add(p.timing.AnnounceWait)
		return true, false
	}
	t := p.timing
	p.next = now.Add(t.MinInterval + time.Duration(t.Rand()*float64(t.MaxInterval-t.MinInterval)))
	return true, false
}

// Conflicts reports whether packet q, received while probing, means that another host
// has the address, or is about to take it: any packet from it, or a probe of it by
// another station.
func (p *Prober) Conflicts(q Packet) bool {
	if q.SenderMAC == p.mac {
		return false
	}
	return q.SenderIP == p.ip || (q.IsProbe() && q.TargetIP == p.ip)
}

// ConflictError names the station that has the address that was probed.
type ConflictError struct {
	IP  netip.Addr // the address that was probed
	MAC MAC        // of the station that has it, or probes for it too
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("arp: %v is in use by %v", e.IP, e.MAC)
}

// Probe finds out whether ip is free on an interface before mac takes it: it sends probes
// and listens, for 4 to 7 s with the timing of RFC 5227, Section 1.1. It returns nil if the
// address is free, a *ConflictError if not, or ctx's error. It reads conn, on which the
// interface must have been added; no other goroutine may read conn meanwhile.
func Probe(ctx context.Context, conn PacketConn, ifindex int, mac MAC, ip netip.Addr, t ProbeTiming) error {
	p := NewProber(time.Now(), mac, ip, t)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	in := make([]Frame, Batch)
	for {
		send, free := p.Advance(time.Now())
		if free {
			return nil
		}
		if send {
			if _, err := conn.Write([]Frame{NewProbe(mac, ip).On(ifindex)}); err != nil {
				return err
			}
		}
		_ = conn.SetReadDeadline(p.Deadline())
		if ctx.Err() != nil { // asked after the deadline is set, lest it overwrite the wake-up
			return ctx.Err()
		}
		n, err := conn.Read(in)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		for _, f := range in[:n] {
			if f.IfIndex == ifindex && p.Conflicts(f.Packet) {
				return &ConflictError{IP: ip, MAC: f.SenderMAC}
			}
		}
	}
}
