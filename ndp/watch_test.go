package ndp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/captures"
	"github.com/hyperfib/hyperfib/internal/testing/pktest"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// tracked drives a Tracker by text: "solicits LINK WHO ADDRESS" is a solicitation
// from ADDRESS, "detects" one of duplicate address detection, "advertises" an
// advertisement of ADDRESS; the MAC of WHO is its letter.
type tracked struct{ *Tracker }

func (m tracked) Advance(now time.Time) (out []string) {
	send, events := m.Tracker.Advance(now, nil, nil)
	for _, p := range send {
		ns, err := ParseNeighborSolicitation(&p)
		if err != nil {
			return []string{err.Error()}
		}
		out = append(out, "ask "+ns.Target.String()+" at "+p.DstMAC.String()+" on link "+strconv.Itoa(p.IfIndex))
	}
	return append(out, watched(events)...)
}

func watched(events []Event) (out []string) {
	for _, e := range events {
		out = append(out, e.String())
	}
	return out
}

func (m tracked) Do(now time.Time, words []string) ([]string, error) {
	if len(words) < 2 {
		return nil, nil
	}
	link, _ := strconv.Atoi(words[1])
	switch words[0] {
	case "link":
		ip, _ := netip.ParseAddr(words[2])
		m.AddLink(link, hostMAC, ip)
		return nil, nil
	case "unlink":
		return watched(m.RemoveLink(link)), nil
	case "seed":
		m.Seed(now, link, netip.MustParseAddr(words[2]))
		return nil, nil
	}
	p, ok := speech(words[0], MAC{2, 0, 0, 0, 0, words[2][0]}, netip.MustParseAddr(words[3]))
	if !ok {
		return nil, fmt.Errorf("unknown input %q", words[0])
	}
	p.IfIndex = link
	return watched(m.Observe(now, &p, nil)), nil
}

// speech is what mac says about ip.
func speech(how string, mac MAC, ip netip.Addr) (p Packet, ok bool) {
	ns := NeighborSolicitation{Target: gateway, SourceLinkAddr: mac}
	na := NeighborAdvertisement{Target: ip, TargetLinkAddr: mac, Override: true}
	switch how {
	case "solicits":
		p = packet(ip, SolicitedNode(gateway), ns.append(nil))
	case "detects":
		p = packet(netip.IPv6Unspecified(), SolicitedNode(ip), NeighborSolicitation{Target: ip}.append(nil))
	case "advertises":
		p = packet(ip, AllNodes, na.append(nil))
	case "forges": // somebody else's link-layer address in the option
		na.TargetLinkAddr = MAC{2, 0, 0, 0, 0, 'x'}
		p = packet(ip, AllNodes, na.append(nil))
	default:
		return p, false
	}
	p.SrcMAC = mac
	return p, true
}

func TestTracker(t *testing.T) {
	scenario.Files(t, "testdata/tracker_*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, tracked{NewTracker(WatchConfig{PerLink: 3})})
	})
}

func TestWatcherLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := pktest.New[Packet]()
		w := NewMonitor(conn, WatchConfig{Idle: 10 * time.Second})
		var events []string
		watcher := w.Watch()
		go func() {
			for e, err := range watcher.All(context.Background()) {
				if err == nil {
					events = append(events, e.String())
				}
			}
		}()
		stop := start(w.Run)
		for link := 1; link <= 2; link++ {
			if err := w.AddLink(link, hostMAC, gateway); err != nil || !conn.Has(link) {
				t.Fatal(err)
			}
		}
		say := func(how string, link int, ip netip.Addr) {
			p, _ := speech(how, guestMAC, ip)
			p.IfIndex = link
			conn.Deliver(p)
			synctest.Wait()
		}
		say("solicits", 1, vm1)
		say("detects", 2, vm3)
		time.Sleep(1500 * time.Millisecond)
		sent := conn.Take()
		if len(sent) != 1 || sent[0].Dst != vm3 || sent[0].DstMAC != guestMAC || sent[0].Src != gateway {
			t.Errorf("asked %+v", sent)
		}
		say("advertises", 2, vm3)
		time.Sleep(20 * time.Second)
		w.Seed(1, vm1)
		synctest.Wait()
		if sent := conn.Take(); len(sent) == 0 || sent[len(sent)-1].Dst != SolicitedNode(vm1) {
			t.Errorf("asked %+v", sent)
		}
		say("advertises", 1, vm1)
		w.RemoveLink(1)
		synctest.Wait()
		want := []string{
			"seen " + vm1.String() + " 50:54:33:00:00:07 on link 1", "seen " + vm3.String() + " 50:54:33:00:00:07 on link 2",
			"gone " + vm1.String() + " 50:54:33:00:00:07 on link 1", "gone " + vm3.String() + " 50:54:33:00:00:07 on link 2",
			"seen " + vm1.String() + " 50:54:33:00:00:07 on link 1", "gone " + vm1.String() + " 50:54:33:00:00:07 on link 1",
		}
		if strings.Join(events, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s", strings.Join(events, "\n"))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := w.Run(t.Context()); err != ErrClosed {
			t.Errorf("a second Run: %v", err)
		}
		if n, err := watcher.Next(t.Context(), make([]Event, 1)); n != 0 || err != ErrClosed {
			t.Errorf("after the end: %d, %v", n, err)
		}
		w = NewMonitor(conn, WatchConfig{})
		conn.Close()
		if err := w.Run(t.Context()); !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
}

// FuzzTracker: whatever a guest sends, a Tracker remembers addresses within bounds that
// can be a station's, and asks questions that are valid.
func FuzzTracker(f *testing.F) {
	for _, c := range captures.Read(f, "testdata/captures.txt") {
		f.Add(c.Data)
	}
	for _, how := range []string{"solicits", "detects", "advertises", "forges"} {
		p, _ := speech(how, guestMAC, vm1)
		f.Add(p.appendFrame(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseFrame(data)
		if err != nil {
			return
		}
		if p, err = ParseFrame(p.appendFrame(nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Check(); err != nil {
			return
		}
		p.IfIndex = 1
		w := NewTracker(WatchConfig{})
		w.AddLink(1, hostMAC, gateway)
		now := time.Unix(0, 0)
		events := w.Observe(now, &p, nil)
		var send []Packet
		for range 10 {
			if d := w.Deadline(); !d.IsZero() {
				now = d
			}
			send, events = w.Advance(now, send, events)
		}
		for _, e := range events {
			if e.MAC != p.SrcMAC || !e.IP.Is6() || e.IP.IsLinkLocalUnicast() || e.IP.IsMulticast() {
				t.Fatal(e)
			}
		}
		for _, q := range send {
			q, err := ParseFrame(q.appendFrame(nil))
			if _, bad := q.Check(); err != nil || bad != nil {
				t.Fatal(err, bad)
			}
			if _, err := ParseNeighborSolicitation(&q); err != nil {
				t.Fatal(err)
			}
		}
		if len(events) == 2 && events[1].Kind != EventGone || len(events) > 2 {
			t.Fatal(events)
		}
	})
}
