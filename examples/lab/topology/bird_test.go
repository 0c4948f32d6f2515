package topology

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const protocols = `BIRD 2.0.12 ready.
2002-Name       Proto      Table      State  Since         Info
1002-rr1_public4 BGP        ---        up     14:45:20.802  Established   
1006-  BGP state:          Established
     Neighbor address: 198.51.100.126%a.public
     Neighbor AS:      65000
1002-rr2_public6 BGP        ---        start  14:45:19.942  Active        Socket: Connection reset by peer
1006-  BGP state:          Active
     Neighbor address: 2001:db8:c633:6401::26%b.public
1002-kernel_public4 Kernel     public4    up     14:45:19.942  
0000 `

const bfd = `1020-bfd1:
 IP address                Interface  State      Since         Interval  Timeout
 198.51.100.126            a.public   Up         14:45:21.457    0.100    0.500
 2001:db8:c633:6401::26    b.public   Init       14:45:20.778    1.000    5.000
0000 `

func TestParseBird(t *testing.T) {
	strip := func(s string) (out []string) {
		for l := range strings.Lines(s) {
			text, _ := stripCode(strings.TrimSuffix(l, "\n"))
			out = append(out, text)
		}
		return out
	}
	have := parseBird(strip(protocols), strip(bfd))
	want := []Peer{{"rr1_public4", "Established", "Up"}, {"rr2_public6", "Active", "Init"}}
	if !slices.Equal(have, want) {
		t.Errorf("%+v, want %+v", have, want)
	}
	flaps := birdFlaps(strip(bfd))
	if len(flaps) != 2 || flaps["198.51.100.126%a.public"] != (Flap{"Up", 14*time.Hour + 45*time.Minute + 21457*time.Millisecond}) {
		t.Errorf("%v", flaps)
	}
}

func TestStripCode(t *testing.T) {
	for line, want := range map[string]struct {
		text string
		last bool
	}{
		"1002-name":       {"name", false},
		"0000 ":           {"", true},
		"8001 no such":    {"no such", true},
		"9001 syntax":     {"syntax", true},
		" continued":      {"continued", false},
		"1020-  indented": {"  indented", false},
	} {
		if text, last := stripCode(line); text != want.text || last != want.last {
			t.Errorf("%q: %q %v, want %q %v", line, text, last, want.text, want.last)
		}
	}
}

func TestFlaps(t *testing.T) {
	before := Flaps{"a": {"Up", time.Second}, "b": {"Up", time.Second}, "c": {Text: "1"}}
	now := Flaps{"a": {"Up", 1001 * time.Millisecond}, "b": {"Up", 2 * time.Second}, "d": {Text: "1"}}
	if have := now.Since(before); !slices.Equal(have, []string{"b (Up 2s, was Up 1s)", "c ( 0s, was 1 0s)", "d (1 0s, is new)"}) {
		t.Errorf("%q", have)
	}
	if have := before.Since(before); len(have) != 0 {
		t.Errorf("%v", have)
	}
}
