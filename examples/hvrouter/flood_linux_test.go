package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/ndp"
)

// TestFloodSeenByOthers has one guest ask 100,000 times a second, of every kind that the
// daemon answers, while another asks for a new neighbour of each family every 20 ms: the
// other loses nothing, also when the daemon is killed and comes back in the middle of it.
// The guests share a socket, of which the daemon silences those that flood.
func TestFloodSeenByOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h, a := newRestart(t, "separate")
	h.reloadAs(a, "responder")
	for _, kind := range []string{"ARP", "ARP for ghosts", "NS", "NS, own address", "RS", "NA"} {
		f := newFlooder(t, h, kind)
		h.watch(a, kind, func() { time.Sleep(time.Second) }, true, true)
		t.Logf("%s: %d frames of flood a second, %v of CPU a second", kind, f.rate(), f.cpu())
		h.restartWith(a, kind+": killed", syscall.SIGKILL, true, true)
		f.stop()
	}
}

// flooder is the second guest of restartConfig.
type flooder struct {
	h     *restarted
	sent  atomic.Int64
	begin time.Time
	ticks time.Duration
	ended chan struct{}
	end   chan struct{}
}

func newFlooder(t *testing.T, h *restarted, kind string) *flooder {
	t.Helper()
	f := &flooder{h: h, begin: time.Now(), ticks: h.cpuTime(), ended: make(chan struct{}), end: make(chan struct{})}
	link := 0
	h.other.Do(func() error {
		l, err := net.InterfaceByName("eth0")
		link = l.Index
		return err
	})
	mac := arp.MAC{0x50, 0x54, 0x33, 0, 0, 9}
	conn4, err4 := arp.Listen(arp.Config{NetNS: h.other.Path})
	conn6, err6 := ndp.Listen(ndp.Config{NetNS: h.other.Path})
	if err4 != nil || err6 != nil {
		t.Fatal(err4, err6)
	}
	var send func() int
	solicit := func(src, target string) func() int {
		to := netip.MustParseAddr(target)
		ns := ndp.NeighborSolicitation{Target: to, SourceLinkAddr: ndp.MAC(mac)}
		body, _ := ns.AppendBinary(nil)
		p := ndp.Packet{IfIndex: link, SrcMAC: ndp.MAC(mac), DstMAC: ndp.GroupMAC(ndp.SolicitedNode(to)), HopLimit: 255,
			Src: netip.MustParseAddr(src), Dst: ndp.SolicitedNode(to), Body: body}
		return sendPackets(conn6, p)
	}
	const linkLocal = "fe80::5254:33ff:fe00:9"
	switch kind {
	case "ARP":
		send = sendFrames(conn4, arp.NewRequest(mac, netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("203.0.113.1")).On(link))
	case "ARP for ghosts":
		send = sendFrames(conn4, arp.NewRequest(mac, netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("203.0.113.77")).On(link))
	case "NS":
		send = solicit("2001:db8:1::9", "2001:db8:1::7")
	case "NS, own address":
		send = solicit(linkLocal, "2001:db8:1::9")
	case "RS":
		rs := ndp.RouterSolicitation{SourceLinkAddr: ndp.MAC(mac)}
		body, _ := rs.AppendBinary(nil)
		send = sendPackets(conn6, ndp.Packet{IfIndex: link, SrcMAC: ndp.MAC(mac), DstMAC: ndp.GroupMAC(ndp.AllRouters), HopLimit: 255,
			Src: netip.MustParseAddr(linkLocal), Dst: ndp.AllRouters, Body: body})
	case "NA":
		send = sendPackets(conn6, ndp.Unsolicited(link, ndp.MAC(mac), netip.MustParseAddr("2001:db8:1::9"), false))
	}
	go func() {
		defer close(f.ended)
		defer conn4.Close()
		defer conn6.Close()
		const rate = 100_000
		for begin := time.Now(); ; {
			select {
			case <-f.end:
				return
			default:
			}
			if f.sent.Load() < int64(time.Since(begin).Seconds()*rate) { // a busy machine is always behind
				f.sent.Add(int64(send()))
			} else {
				time.Sleep(200 * time.Microsecond)
			}
		}
	}()
	return f
}

func sendFrames(c *arp.Conn, f arp.Frame) func() int {
	batch := make([]arp.Frame, arp.Batch)
	for i := range batch {
		batch[i] = f
	}
	return func() int { n, _ := c.Write(batch); return n }
}

func sendPackets(c *ndp.Conn, p ndp.Packet) func() int {
	batch := make([]ndp.Packet, ndp.Batch)
	for i := range batch {
		batch[i] = p
	}
	return func() int { n, _ := c.Write(batch); return n }
}

func (f *flooder) rate() int { return int(float64(f.sent.Load()) / time.Since(f.begin).Seconds()) }

// cpu returns the daemon's processor time in a second of the flood.
func (f *flooder) cpu() time.Duration {
	return time.Duration(float64(f.h.cpuTime()-f.ticks) / time.Since(f.begin).Seconds()).Round(time.Millisecond)
}

func (f *flooder) stop() {
	close(f.end)
	<-f.ended
}

// cpuTime returns the processor time that the daemon has used.
func (h *host) cpuTime() time.Duration { return processTime(h.cmd.Process.Pid) }

// processTime returns the processor time that a process has used.
func processTime(pid int) time.Duration {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
