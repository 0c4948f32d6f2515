package app

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

const good = "-as 65000 -router-id 10.77.0.1 -listen 10.77.0.1:179,[fd77::1]:179 -clients 10.77.0.0/24,fd77::/64"

func TestParse(t *testing.T) {
	o, err := parse(strings.Fields(good+" -cluster-id 10.77.0.9 -add-path -ttl-security -bfd 100ms,5 -bfd-strict required -bfd-strict-hold-time 20s -bfd-strict-hold-down 2s -md5-key k -hold 30s -off-link-prefixes 10.78.0.0/24 -probes 10.78.0.0/25,fd78::/120 -prefix-limit 100 -prefix-limit-action block -prefix-limit-restart-after 2m"), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if o.as != 65000 || len(o.listen) != 2 || len(o.clients) != 2 || o.clusterID.String() != "10.77.0.9" || !o.addPath || !o.ttlSecurity ||
		o.bfdInterval != 100*time.Millisecond || o.bfdMultiplier != 5 || o.md5Key != "k" || o.hold != 30*time.Second {
		t.Errorf("%+v", o)
	}
	s, err := newSpeaker(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Restarting() {
		t.Error("a reflector assumes that it was restarted")
	}
	c := template(o, o.clients[0])
	if l := c.PrefixLimits[wire.IPv6Unicast]; l != (rib.PrefixLimit{Maximum: 100, PathsPerPrefix: 1024, Threshold: 75, Action: rib.LimitBlock}) || c.MaxPrefixesHold != 2*time.Minute {
		t.Errorf("%+v, %v", l, c.MaxPrefixesHold)
	}
	if c.BFDStrict != (fsm.StrictConfig{Enabled: true, Required: true, HoldTime: 20 * time.Second, HoldDown: 2 * time.Second}) {
		t.Errorf("%+v", c.BFDStrict)
	}
	if !c.RouteReflectorClient || len(c.AddPathSend) != 2 || len(c.OffLinkPrefixes) != 1 || hosts(o.probes) != 128+256 || !c.TTLSecurity || c.MD5Key != "k" {
		t.Errorf("%+v", c)
	}
}

// TestEVPN: -evpn offers a third family, bounded like the others and without ADD-PATH.
func TestEVPN(t *testing.T) {
	for _, flags := range []string{" -add-path", " -add-path -evpn", " -add-path -evpn -rt-constrain"} {
		o, err := parse(strings.Fields(good+flags), t.Output())
		if err != nil {
			t.Fatal(err)
		}
		for _, prefix := range o.clients {
			c, want := template(o, prefix), strings.Contains(flags, "-evpn")
			_, limited := c.PrefixLimits[wire.L2VPNEVPN]
			if slices.Contains(c.Families, wire.RTConstrain) != strings.Contains(flags, "-rt-constrain") {
				t.Errorf("%s: %v", flags, c.Families)
			}
			if slices.Contains(c.Families, wire.L2VPNEVPN) != want || limited != want || len(c.AddPathSend) != 2 || slices.Contains(c.AddPathReceive, wire.L2VPNEVPN) {
				t.Errorf("%s: %v, %v, %v", flags, c.Families, c.PrefixLimits, c.AddPathSend)
			}
		}
	}
}

// TestConstrain: -rt-constrain asks clients for everything, and tells them no more; -rt-memberships tells them what others
// want. Reflectors above are not offered the family.
func TestConstrain(t *testing.T) {
	for flags, want := range map[string]int{" -evpn": 0, " -evpn -rt-constrain -reflectors 10.77.0.9": 1, " -evpn -rt-constrain -rt-memberships": 0} {
		o, err := parse(strings.Fields(good+flags), t.Output())
		if err != nil {
			t.Fatal(err)
		}
		s, err := newSpeaker(o, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for c := range s.Table().All(wire.RTConstrain) {
			if m, ok := wire.MembershipOfKey(c.Key); ok && m == (wire.Membership{}) {
				n++
			}
		}
		if c := template(o, o.clients[0]); n != want || c.DefaultMembership == o.rtMemberships {
			t.Errorf("%s: %d default memberships, %v", flags, n, c.DefaultMembership)
		}
		if c := above(o, netip.MustParseAddr("10.77.0.9")); slices.Contains(c.Families, wire.RTConstrain) || !slices.Contains(c.Families, wire.L2VPNEVPN) {
			t.Errorf("%s: %v above", flags, c.Families)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{
		"", "-as x", "-as 1", "-as 1 -router-id fd00::1", "-as 1 -router-id 1.1.1.1", good + " extra", good + " -bfd 100ms", good + " -bfd 0s,3", good + " -max-clients 0", good + " -reflectors 10.77.0.0/24", good + " -rt-constrain", good + " -evpn -rt-constrain -rt-memberships -reflectors 10.77.0.9", good + " -evpn -rt-memberships",
		good + " -prefix-limit -1", good + " -prefix-limit-threshold 101", good + " -prefix-limit-action drop", good + " -prefix-limit-restart-after 0s",
		good + " -probes 10.77.0.0/24", good + " -bfd 1s,3 -probes 10.77.0.0/20", good + " -bfd 1s,3 -probes x", good + " -off-link-prefixes 10.77.0.1",
		good + " -bfd 1s,0", good + " -bfd-strict on", good + " -bfd 1s,3 -bfd-strict yes", good + " -bfd 1s,3 -bfd-strict-hold-down -1s", good + " -bfd x,3", good + " -cluster-id fd00::1", "-as 1 -router-id 1.1.1.1 -listen 1.1.1.1:179", good + " -clients 10.0.0.1",
	} {
		var out bytes.Buffer
		if _, err := parse(strings.Fields(line), &out); err == nil {
			t.Errorf("accepted: %s", line)
		} else if out.Len() == 0 {
			t.Errorf("nothing said about: %s", line)
		}
	}
	if _, err := parse([]string{"-help"}, t.Output()); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
}

func TestShowTable(t *testing.T) {
	var out bytes.Buffer
	in := `[{"Key":{"Addr":"10.77.0.2"},"State":"Established","Restart":"none","Families":[{"Paths":3,"Stale":1,"Limit":"within"},
		{"Family":{"AFI":2,"SAFI":1},"Paths":4,"Counted":8,"Limit":"near","PrefixLimit":{"Maximum":10}}],"LastError":{"Text":"oops"},
		"LastLimit":{"Text":"too many","Time":"2020-01-01T00:00:00Z"},"RefusedUntil":"2020-01-01T00:01:00Z","BFDWait":{"Since":"2020-01-01T00:00:00Z"}}]`
	if err := table(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"10.77.0.2", bgp.Established.String(), " 7 ", " 1 ", "oops", "ipv6 near: 8 of 10", "out until 00:01:00: too many", "waits for BFD since"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if code := show([]string{"-api", "/nonexistent"}, &out, &out); code != 1 {
		t.Errorf("code %d", code)
	}
	if code := show([]string{"-nonsense"}, &out, &out); code != 2 {
		t.Errorf("code %d", code)
	}
}
