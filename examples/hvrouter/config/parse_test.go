package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestBad reads testdata/bad*.txt: blocks of "# what", a file, and after "->" the
// errors it must give.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { testBad(t, file) })
	}
}

func testBad(t *testing.T, golden string) {
	data, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for block := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n====\n") {
		input, _, _ := strings.Cut(block, "\n->")
		title, body, _ := strings.Cut(input, "\n")
		_, err := Parse("f", []byte(expand(body)), TableNames{"public": 90})
		if out.Len() > 0 {
			out.WriteString("\n====\n")
		}
		fmt.Fprintf(&out, "%s\n%s\n->\n%v", title, body, err)
		var list Errors
		if !errors.As(err, &list) {
			t.Errorf("%s: error %v is not Errors", title, err)
			continue
		}
		for _, e := range list {
			if e.Line == 0 || e.Column == 0 {
				t.Errorf("%s: no place: %v", title, e)
			}
		}
	}
	out.WriteByte('\n')
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(out.Bytes(), data) {
		t.Errorf("differs from %s (run with -update and read the diff):\n%s", golden, out.Bytes())
	}
}

// expand puts the head that every file needs before one that starts with "...".
func expand(body string) string {
	rest, ok := strings.CutPrefix(body, "...\n")
	if !ok {
		return body
	}
	return "router-id: 0.0.1.1\nas: 65000\n" + rest
}

func sample(t testing.TB) *Config {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "hv1.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("hv1.yaml", data, TableNames{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSample(t *testing.T) {
	c := sample(t)
	if got := c.Domain("public").Reflectors[2]; got.Fabric != "A" || got.AS != 65000 || got.Families[0] != IPv6 || got.Name != "2001:db8:c633:6400::26" {
		t.Errorf("third session: %+v", got)
	}
	if got := c.BFD; got.Interval.Duration != 100*time.Millisecond || got.Socket != "/run/hvrouter/hv1.sock.bfd" {
		t.Errorf("bfd: %+v", got)
	}
	if !c.BGP.TTLSecurity || !c.BGP.AddPath || c.BGP.Port != 179 {
		t.Errorf("bgp: %+v", c.BGP)
	}
	if got := c.Guests[0]; got.MAC.String() != "50:54:33:00:00:07" || got.LocalPref != 100 || got.Routed[0].Prefix != netip.MustParsePrefix("203.0.113.10/32") {
		t.Errorf("vm1: %+v", got)
	}
	if got := c.Overlays[0]; got.Local.Addr != netip.MustParseAddr("172.22.2.1") || got.Port != 4789 || got.MTU != 1500 {
		t.Errorf("overlay: %+v", got)
	}
}

func TestTurnedOff(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "hv1.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("ttl-security: true", "ttl-security: false", "add-path: true", "add-path: false").Replace(string(data))
	c, err := Parse("f", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.BGP.TTLSecurity || c.BGP.AddPath {
		t.Errorf("still on: %+v", c.BGP)
	}
}

// What a program writes from a Config value, Parse reads back the same.
func TestMarshal(t *testing.T) {
	c := sample(t)
	data, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse("f", data, TableNames{})
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	again, err := yaml.Marshal(back)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, again) {
		t.Errorf("got\n%s\nwant\n%s", again, data)
	}
}

func TestTableNames(t *testing.T) {
	names := TableNames{}
	names.Add("# reserved\n90 public # the guests'\n0x14\tprivate\nnonsense\n0 unspec\n")
	if len(names) != 2 || names["public"] != 90 || names["private"] != 20 {
		t.Errorf("%v", names)
	}
}

func TestParseGuests(t *testing.T) {
	one, err := ParseGuests("f", []byte(`{"name": "vm9", "mac": "50:54:33:00:00:99", "ipv4": ["203.0.113.9"]}`))
	if err != nil || len(one) != 1 || one[0].Interface != "vm9" {
		t.Errorf("JSON: %+v, %v", one, err)
	}
	two, err := ParseGuests("f", []byte("- {name: a, ipv4: [203.0.113.1]}\n- {name: b, ipv4: [203.0.113.2]}\n"))
	if err != nil || len(two) != 2 {
		t.Errorf("list: %+v, %v", two, err)
	}
	for text, want := range map[string]string{
		"- {name: a}\n- {nam: b}\n":                 "f:2:4: unknown field \"nam\"",
		"- {name: a}\n- {name: b, ipv4: [\"::1\"]}": "f:2:20: ::1 is not an IPv4 address",
		"name: a\nipv6: [\"2001:db8::/64\"]\n":      "f:1:1: mac is missing: the guest's link-local address follows from it",
		"name: a\nrouted: [\"203.0.113.9/32\"]":     "f:2:10: 203.0.113.9/32: the guest has no address of that family to route it through",
		"":                                          "f:0:0: no guest",
	} {
		if _, err := ParseGuests("f", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	data, _ := os.ReadFile(filepath.Join("..", "hv1.yaml"))
	f.Add(data)
	bad, _ := os.ReadFile("testdata/bad.txt")
	for block := range strings.SplitSeq(string(bad), "\n====\n") {
		input, _, _ := strings.Cut(block, "\n->")
		_, body, _ := strings.Cut(input, "\n")
		f.Add([]byte(expand(body)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data, TableNames{"public": 90})
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v, error %v", c, err)
		}
	})
}
