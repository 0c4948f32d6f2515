package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"

	"github.com/hyperfib/hyperfib/internal/afpacket"
	"github.com/hyperfib/hyperfib/internal/ether"
	"github.com/hyperfib/hyperfib/internal/netns"
)

var (
	guestMAC  = ether.MAC{0x50, 0x54, 0x33, 0, 0, 7}
	routerMAC = ether.MAC{2, 0, 0, 0, 0, 0xfe}
)

// ip runs ip(8) with words split at spaces.
func ip(format string, args ...any) error {
	words := strings.Fields(fmt.Sprintf(format, args...))
	if out, err := exec.Command("ip", words...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %v: %s", strings.Join(words, " "), err, out)
	}
	return nil
}

// wire is a guest and a hypervisor joined by a veth pair; the guest's kernel says
// nothing of its own.
type wire struct {
	guest, host string // namespaces
	link, glink int    // the interfaces' indices
}

func path(ns string) string { return "/run/netns/" + ns }

func sysctl(ns, name, value string) error {
	return netns.Do(path(ns), func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644) })
}

func newWire(label string) (*wire, error) {
	w := &wire{guest: fmt.Sprintf("hfb-%d-%s-g", os.Getpid(), label), host: fmt.Sprintf("hfb-%d-%s-h", os.Getpid(), label)}
	for _, ns := range []string{w.guest, w.host} {
		if err := ip("netns add %s", ns); err != nil {
			return w, err
		}
	}
	if err := sysctl(w.guest, "net/ipv6/conf/default/disable_ipv6", "1"); err != nil {
		return w, err
	}
	for _, cmd := range []string{
		fmt.Sprintf("-n %s link add vm1 address %v type veth peer name eth0 address %v netns %s", w.host, routerMAC, guestMAC, w.guest),
		"-n " + w.host + " link set lo up", "-n " + w.host + " link set vm1 up", "-n " + w.guest + " link set eth0 arp off up",
	} {
		if err := ip("%s", cmd); err != nil {
			return w, err
		}
	}
	var err error
	if w.link, err = index(w.host, "vm1"); err != nil {
		return w, err
	}
	w.glink, err = index(w.guest, "eth0")
	time.Sleep(200 * time.Millisecond) // carrier
	return w, err
}

func (w *wire) close() {
	_ = ip("netns del %s", w.guest)
	_ = ip("netns del %s", w.host)
}

func index(ns, name string) (link int, err error) {
	err = netns.Do(path(ns), func() error {
		ifi, err := net.InterfaceByName(name)
		if err == nil {
			link = ifi.Index
		}
		return err
	})
	return link, err
}

// received returns how many frames the guest's interface has received.
func (w *wire) received() (n uint64, err error) {
	err = netns.Do(path(w.guest), func() error {
		c, err := rtnetlink.Dial(&netlink.Config{})
		if err != nil {
			return err
		}
		defer c.Close()
		l, err := c.Link.Get(uint32(w.glink))
		if err == nil {
			n = l.Attributes.Stats64.RXPackets
		}
		return err
	})
	return n, err
}

// flood sends frames in turn for a time, at rate a second (0: as fast as possible), each by
// itself or as many at once as are due, and returns how many were sent, and how many frames
// came back.
func (w *wire) flood(etherType uint16, frames [][]byte, rate int, single bool, d time.Duration) (sent, answered uint64, err error) {
	conn, err := afpacket.Open(afpacket.Config{NetNS: path(w.guest), EtherType: etherType, FrameSize: 64})
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	before, err := w.received()
	if err != nil {
		return 0, 0, err
	}
	batch := make([]afpacket.Frame, afpacket.Batch)
	begin := time.Now()
	for elapsed := time.Duration(0); elapsed < d; elapsed = time.Since(begin) {
		n := len(batch)
		if rate > 0 {
			n = min(n, int(elapsed.Seconds()*float64(rate))-int(sent))
		}
		switch {
		case n <= 0 && single:
			continue
		case n <= 0:
			time.Sleep(100 * time.Microsecond)
			continue
		case single:
			n = 1
		}
		for i := range n {
			batch[i] = afpacket.Frame{Link: w.glink, Data: frames[(int(sent)+i)%len(frames)]}
		}
		ok, _ := conn.Write(batch[:n])
		sent += uint64(ok)
	}
	// Wait until no more answers come.
	after := before
	for quiet := 0; quiet < 5; {
		time.Sleep(50 * time.Millisecond)
		now, err := w.received()
		if err != nil {
			return 0, 0, err
		}
		if quiet++; now != after {
			quiet, after = 0, now
		}
	}
	return sent, after - before, nil
}
