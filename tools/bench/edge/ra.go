package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/ndp"
)

func guestRouter(mac ndp.MAC) ndp.Router {
	return ndp.Router{MAC: mac, Source: netip.MustParseAddr("fe80::1"), Advertisement: ndp.RouterAdvertisement{
		HopLimit: 64, Lifetime: 30 * time.Minute, MTU: 1450,
		Prefixes: []ndp.Prefix{{Prefix: netip.MustParsePrefix("2001:db8:cb00:7100::/64"), OnLink: true, Autonomous: true, Valid: 24 * time.Hour, Preferred: 4 * time.Hour}},
	}}
}

// routerAdvertisements measures from solicitation to answer, from a link-local source
// and from ::, radvd and us.
func routerAdvertisements(b *bench) error {
	w, err := newWire("ra")
	defer w.close()
	if err != nil {
		return err
	}
	if err := sysctl(w.host, "net/ipv6/conf/all/forwarding", "1"); err != nil {
		return err
	}
	if err := ip("-n %s addr add fe80::1/64 dev vm1 nodad", w.host); err != nil {
		return err
	}
	if err := radvd(b, w); err != nil {
		return err
	}
	conn, err := ndp.Listen(ndp.Config{NetNS: path(w.host), Types: []ndp.Type{ndp.TypeRouterSolicitation}})
	if err != nil {
		return err
	}
	defer conn.Close()
	a := ndp.NewAdvertiser(conn)
	if err := a.Set(w.link, guestRouter(routerMAC)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for _, s := range sources {
		times, lost, err := w.solicit(s.addr, 60, 105*time.Millisecond)
		if err != nil {
			return err
		}
		p99 := times[len(times)*99/100]
		b.add("RS to RA, "+s.name, "hyperfib", describeTimes(times, lost), "p99 50 ms", p99 <= 50*time.Millisecond && lost == 0)
	}
	return nil
}

var sources = []struct {
	name string
	addr netip.Addr
}{
	{"from link-local", netip.MustParseAddr("fe80::5254:33ff:fe00:7")},
	{"from ::", netip.IPv6Unspecified()},
}

func describeTimes(times []time.Duration, lost int) string {
	at := func(p int) time.Duration {
		return times[min(len(times)*p/100, len(times)-1)].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("median %v, p99 %v, max %v, %d of %d unanswered", at(50), at(99), at(100), lost, len(times))
}

// radvd measures radvd with its usual intervals.
func radvd(b *bench, w *wire) error {
	bin, ok := need("radvd")
	if !ok {
		return nil
	}
	dir, err := os.MkdirTemp("", "edge")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	conf := "interface vm1 {\n AdvSendAdvert on;\n prefix 2001:db8:cb00:7100::/64 { };\n};\n"
	if err := os.WriteFile(dir+"/radvd.conf", []byte(conf), 0o644); err != nil {
		return err
	}
	cmd := exec.Command("ip", "netns", "exec", w.host, bin, "-n", "-C", dir+"/radvd.conf", "-p", dir+"/pid", "-m", "logfile", "-l", dir+"/log", "-u", "root")
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	time.Sleep(time.Second)
	for i, s := range sources {
		times, lost, err := w.solicit(s.addr, []int{30, 4}[i], 105*time.Millisecond)
		if err != nil {
			return err
		}
		b.add("RS to RA, "+s.name, "radvd", describeTimes(times, lost), "", true)
	}
	return nil
}

// solicit sends n solicitations, gap apart, and returns the sorted times to the
// answers; an unanswered one counts as 5 s.
func (w *wire) solicit(src netip.Addr, n int, gap time.Duration) (times []time.Duration, lost int, err error) {
	conn, err := ndp.Listen(ndp.Config{NetNS: path(w.guest), Types: []ndp.Type{ndp.TypeRouterAdvertisement}})
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	if err := conn.Add(w.glink); err != nil {
		return nil, 0, err
	}
	rs := ndp.RouterSolicitation{SourceLinkAddr: guestMAC}
	if src.IsUnspecified() {
		rs.SourceLinkAddr = ndp.MAC{}
	}
	body, _ := rs.AppendBinary(nil)
	q := ndp.Packet{IfIndex: w.glink, SrcMAC: guestMAC, DstMAC: ndp.GroupMAC(ndp.AllRouters), Src: src, Dst: ndp.AllRouters, Body: body}
	in := make([]ndp.Packet, ndp.Batch)
	for range n {
		time.Sleep(gap)
		_ = conn.SetReadDeadline(time.Now().Add(-time.Second)) // forget unsolicited ones
		for _, err := conn.Read(in); err == nil; _, err = conn.Read(in) {
		}
		begin := time.Now()
		if _, err := conn.Write([]ndp.Packet{q}); err != nil {
			return nil, 0, err
		}
		_ = conn.SetReadDeadline(begin.Add(5 * time.Second))
		if _, err := conn.Read(in); err != nil {
			lost++
		}
		times = append(times, time.Since(begin))
	}
	slices.Sort(times)
	return times, lost, nil
}
