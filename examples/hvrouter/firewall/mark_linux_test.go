package firewall

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// marked is spec() with two domains told by marks.
func marked() Spec {
	s := spec()
	s.MarkMask = 0xff
	s.Marks = []Mark{{0x5a, []string{"vm2", "vm1", "a.public"}}, {0x14, []string{"a.private"}}}
	return s
}

func golden(t *testing.T, l lab, file string) {
	t.Helper()
	got := unremembered(l.hv.Exec("nft", "list", "ruleset"))
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the table is\n%s\nwant\n%s", got, want)
	}
}

func TestMarksAsNftShowsThem(t *testing.T) {
	l := newLab(t)
	l.apply(t, marked())
	golden(t, l, "testdata/marked.nft")
	s := marked()
	s.MarksOnly = true
	l.apply(t, s)
	golden(t, l, "testdata/marks-only.nft")
}

// nft tells the same without a VRF in the kernel: it is names that are compared.
func TestVRFAsNftShowsIt(t *testing.T) {
	l := newLab(t)
	s := spec()
	s.VRF = true
	s.Domains = [][]string{{"vm1", "vm2", "a.public", "public"}, {"a.private", "private"}}
	l.apply(t, s)
	golden(t, l, "testdata/vrf.nft")
	l.guest.Exec("ping", "-c1", "-W5", "203.0.113.254")
	l.guest.IP("addr add 203.0.113.9/32 dev eth0")
	_ = l.guest.Command("ping", "-c1", "-W1", "-I", "203.0.113.9", "198.51.100.1").Run()
	l.dropped(t, "spoofed-source", 1)
}

// byMark replaces the hypervisor's rules: only what is marked is routed.
func (l lab) byMark() {
	for _, f := range []string{"-4", "-6"} {
		l.hv.IP(f + " rule add pref 100 fwmark 0x5a/0xff lookup main")
		l.hv.IP(f + " rule add pref 90 iif lo lookup main")
		l.hv.IP(f + " rule del pref 32766")
	}
	for _, name := range []string{"all", "vm1", "a.public"} {
		l.hv.Sysctl("net/ipv4/conf/"+name+"/rp_filter", "1")
		l.hv.Sysctl("net/ipv4/conf/"+name+"/src_valid_mark", "1")
	}
}

// Routing by marks, the check of sources by marks, and marks of others that stay.
func TestRoutedByMark(t *testing.T) {
	l := newLab(t)
	l.byMark()
	sink4, sink6 := listen(t, l.public, "198.51.100.1:7"), listen(t, l.public, "[2001:db8:64::ff]:7")
	s := marked()
	s.Marks = nil
	l.apply(t, s)
	send(t, l.guest, "198.51.100.1:7")
	send(t, l.guest, "[2001:db8:64::ff]:7")
	l.hv.Exec("nft", "add table inet other; add chain inet other early { type filter hook prerouting priority -350; }; add rule inet other early meta mark set 0xab00; "+
		"add chain inet other late { type filter hook forward priority 0; }; add rule inet other late meta mark 0xab5a counter")
	l.apply(t, marked())
	l.guest.Exec("ping", "-c1", "-W5", "198.51.100.1")
	l.guest.Exec("ping", "-c1", "-W5", "2001:db8:64::ff")
	send(t, l.guest, "198.51.100.1:8")
	for _, sink := range []chan string{sink4, sink6} {
		select {
		case from := <-sink:
			t.Errorf("without a mark a packet of %s arrived", from)
		default:
		}
	}
	send(t, l.guest, "198.51.100.1:7")
	send(t, l.guest, "[2001:db8:64::ff]:7")
	arrived(t, sink4)
	arrived(t, sink6)
	nstest.Wait(t, 5*time.Second, "both marks on one packet", func() bool {
		return l.hv.Command("sh", "-c", "nft list chain inet other late | grep -q 'packets [1-9]'").Run() == nil
	})
	l.guest.IP("addr add 2001:db8:bad::1/128 dev eth0 nodad preferred_lft 0")
	_ = l.guest.Command("ping", "-c1", "-W1", "-I", "2001:db8:bad::1", "2001:db8:64::ff").Run()
	nstest.Wait(t, 5*time.Second, "spoofed packets to be dropped", func() bool {
		drops, err := l.firewall.Drops()
		return err == nil && drops["spoofed-source"] > 0
	})
}

// Whatever others do to the table is seen at once, and what we do is not.
func TestWatch(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 64), make(chan error, 1)
	go func() { ended <- l.firewall.Watch(ctx, func() { changed <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	nstest.Wait(t, 5*time.Second, "a listener", func() bool { // until the group is joined nothing is told
		l.apply(t, marked())
		l.hv.Exec("nft", "add chain inet hvrouter probe")
		return len(changed) > 0
	})
	table := func() string { return unremembered(l.hv.Exec("nft", "-s", "list", "table", "inet", "hvrouter")) }
	l.apply(t, marked())
	want := table()
	for _, do := range [][]string{
		{"flush", "ruleset"},
		{"flush", "chain", "inet", "hvrouter", "domains"},
		{"delete", "element", "inet", "hvrouter", "marked0", "{ a.private }"},
		{"add", "rule", "inet", "hvrouter", "input", "accept"},
	} {
		drain(changed)
		l.hv.Exec("nft", do...)
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("nft %v was not noticed", do)
		}
		l.apply(t, marked())
		if got := table(); got != want {
			t.Errorf("after nft %v the table is\n%s\nwant\n%s", do, got, want)
		}
	}
	drain(changed)
	for range 3 { // our own doings, and what is none of our business
		s := marked()
		s.Guests = append(s.Guests, Guest{Interface: "vm3"})
		l.apply(t, s)
		l.apply(t, marked())
	}
	l.hv.Exec("nft", "add", "table", "inet", "other")
	l.hv.Exec("nft", "add", "table", "ip", "hvrouter")
	l.hv.Exec("nft", "add", "chain", "inet", "hvrouter", "probe") // the last word
	<-changed
	if len(changed) > 0 {
		t.Error("noticed more than the foreign change")
	}
}

func drain(c chan struct{}) {
	for len(c) > 0 {
		<-c
	}
}
