package evpn

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestTshark: tshark decodes what FRR and GoBGP have sent, and what we write ourselves, as we do.
func TestTshark(t *testing.T) {
	if testing.Short() {
		t.Skip("runs tshark")
	}
	tshark := nstest.Need(t, "tshark")
	var messages [][]byte
	var want []string
	captured(t, func(_ string, m []byte, u *wire.Update) {
		messages = append(messages, m)
		for _, l := range []wire.List{u.MPReach, u.MPUnreach} {
			for n := range l.EVPN() {
				r, _ := Parse(n.Octets)
				want = append(want, fields(&r))
			}
		}
	})
	for _, c := range routes[:len(routes)-1] { // but for the unknown type
		b := wire.Builder{AS4: true}
		b.Reach(nil, wire.L2VPNEVPN, (&wire.PathAttrs{}).Append(nil), wire.NextHop{Addr: addr("2001:db8::2")})
		key, _ := c.Key(nil)
		octets, _ := c.AppendBinary(nil)
		b.AddKeyed(key, wire.EVPN{Octets: octets}.AppendRest(nil), 0)
		messages = append(messages, b.Finish())
		r, _ := Parse(octets)
		want = append(want, fields(&r))
	}
	file := filepath.Join(t.TempDir(), "evpn.pcap")
	if err := os.WriteFile(file, pcap(messages), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tshark, "-n", "-r", file, "-V").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := dissected(string(out)); !slices.Equal(got, want) {
		t.Errorf("%d routes, want %d", len(got), len(want))
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("tshark %s\n   we %s", got[i], want[i])
			}
		}
	}
}

// TestTsharkMembership: the same for route target memberships, which GoBGP has sent, or we write. Of a
// shorter prefix tshark shows what follows it in the message as well, and 4294967295 in the place of a
// 4-octet AS number.
func TestTsharkMembership(t *testing.T) {
	if testing.Short() {
		t.Skip("runs tshark")
	}
	tshark := nstest.Need(t, "tshark")
	b := wire.Builder{AS4: true}
	b.Reach(nil, wire.RTConstrain, (&wire.PathAttrs{}).Append(nil), wire.NextHop{Addr: addr("10.9.0.1")})
	for _, m := range []wire.Membership{{}, wire.NewMembership(4200000001, 0x0002fde800000064), wire.NewMembership(65000, 0x01020a090002012c)} {
		b.AddKeyed(m.AppendKey(nil), nil, 0)
	}
	messages := append(updates(t, "../wire/testdata/captures/gobgp-rtc.txt"), b.Finish())
	var want []string
	for _, m := range messages {
		u, err := wire.ParseUpdate(m[wire.HeaderLen:], wire.Options{AS4: true, IBGP: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []wire.List{u.MPReach, u.MPUnreach} {
			for m := range l.Memberships() {
				text := "Wildcard route target"
				if m.Bits > 0 {
					text = fmt.Sprintf("NLRI %d:%s/%d", m.OriginAS, strings.TrimPrefix(CommunityString(m.Target), "rt:"), m.Bits)
				}
				want = append(want, text)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "rtc.pcap")
	if err := os.WriteFile(file, pcap(messages), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tshark, "-n", "-r", file, "-V").Output()
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`Wildcard route target|NLRI \d+:\S+/\d+`).FindAllString(string(out), -1)
	if !slices.Equal(got, want) || len(got) != 7 {
		t.Errorf("tshark %q\n   we %q", got, want)
	}
}

// fields returns what of a route tshark shows, in its order.
func fields(r *Route) string {
	s := fmt.Sprintf("%d rd %v", r.Type, r.RD)
	if r.Type != TypeMulticast {
		s += fmt.Sprintf(" esi %v", r.ESI)
	}
	if r.Type != TypeEthernetSegment {
		s += fmt.Sprintf(" tag %d", r.EthernetTag)
	}
	if r.Type == TypeMACIP {
		s += fmt.Sprintf(" mac %v", r.MAC)
	}
	if r.Prefix.IsValid() {
		s += fmt.Sprintf(" bits %d", r.Prefix.Bits())
	}
	for _, a := range []netip.Addr{r.IP, r.Prefix.Addr(), r.Gateway} {
		if a.IsValid() {
			s += fmt.Sprintf(" ip %v", a)
		}
	}
	if r.Type == TypeEthernetAD || r.Type == TypeMACIP || r.Type == TypeIPPrefix {
		s += fmt.Sprintf(" label %d", r.Label.MPLS())
	}
	if r.HasLabel2 {
		s += fmt.Sprintf(" label %d", r.Label2.MPLS())
	}
	return s
}

// shown finds the lines of tshark that fields has.
var shown = regexp.MustCompile(`^ *(?:.*= )?(Route Type|Route Distinguisher|ESI|Ethernet Tag ID|MAC Address|IPv[46] address|IPv[46] Gateway address|MPLS Label(?: [12]| Stack)|IP prefix length|Path Attribute)(?: - |: )(.*)$`)

func dissected(text string) (routes []string) {
	inside := false
	for line := range strings.Lines(text) {
		m := shown.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		words := strings.Fields(m[2])
		last := strings.Trim(words[len(words)-1], "()")
		if m[1] == "Path Attribute" {
			inside = false
		}
		if m[1] == "Route Type" {
			inside = true
			routes = append(routes, last)
			continue
		}
		if !inside {
			continue
		}
		name := map[string]string{"Route Distinguisher": "rd", "ESI": "esi", "Ethernet Tag ID": "tag", "MAC Address": "mac"}[m[1]]
		switch {
		case strings.HasPrefix(m[1], "IPv"):
			name = "ip"
		case m[1] == "IP prefix length":
			name = "bits"
		case strings.HasPrefix(m[1], "MPLS"):
			name = "label"
		}
		if m[1] == "MPLS Label Stack" { // as a number, then what tshark thinks of a VNI as a stack
			last = strings.Trim(words[0], ",")
		}
		routes[len(routes)-1] += " " + name + " " + last
	}
	return routes
}

// pcap makes a file of TCP segments with one message each.
func pcap(messages [][]byte) []byte {
	be, le := binary.BigEndian, binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = le.AppendUint32(le.AppendUint32(le.AppendUint32(le.AppendUint32(b, 0), 0), 65535), 101) // raw IP
	for i, m := range messages {
		size := uint32(40 + len(m))
		for _, x := range []uint32{uint32(i), 0, size, size} {
			b = le.AppendUint32(b, x)
		}
		b = append(b, 0x45, 0)
		b = be.AppendUint16(b, uint16(size))
		b = append(b, 0, 1, 0, 0, 64, 6, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1)
		b = be.AppendUint16(be.AppendUint16(b, uint16(20000+i)), 179)
		b = append(b, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0)
		b = append(b, m...)
	}
	return b
}
