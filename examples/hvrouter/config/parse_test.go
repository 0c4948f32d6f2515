package config

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestBad plays testdata/bad*.txt: a comment, the lines of a file, and below them the errors
// that it has. An empty line ends a file.
func TestBad(t *testing.T) {
	scenario.Files(t, "testdata/bad*.txt", func(t *testing.T, text string) (string, error) {
		return playFiles(text, func(file string) []string {
			_, err := Parse("f", []byte(file), TableNames{"public": 90})
			var list Errors
			if !errors.As(err, &list) {
				t.Errorf("%s: error %v is not Errors", file, err)
				return []string{fmt.Sprint(err)}
			}
			for _, e := range list {
				if e.Line == 0 || e.Column == 0 {
					t.Errorf("%s: no place: %v", file, e)
				}
			}
			return strings.Split(err.Error(), "\n")
		}), nil
	})
}

// playFiles calls judge for each file of a text, and writes what it returns below it.
func playFiles(text string, judge func(file string) []string) string {
	var out, file strings.Builder
	begun := false
	end := func() {
		if begun {
			for _, line := range judge(expand(file.String())) {
				fmt.Fprintf(&out, "\t%s\n", line)
			}
		}
		file.Reset()
		begun = false
	}
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "\t"):
			continue // an output of an earlier run
		case strings.TrimSpace(line) == "":
			end()
		case line[0] != '#' || file.Len() > 0:
			file.WriteString(line)
		}
		begun = begun || strings.TrimSpace(line) != ""
		out.WriteString(line)
	}
	end()
	return out.String()
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
	if got := c.PeersNamed("172.22.15.126"); !slices.Equal(got, []string{"172.22.15.126"}) || c.PeersNamed("rr1") != nil {
		t.Errorf("peers by name: %v", got)
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
		"- {name: a}\n- {nam: b}\n":           "f:2:4: unknown field \"nam\"",
		"- {name: a}\n- {name: b, rate: 0}":   "f:2:19: 0 is not a value of guests[].rate; leave the key out for its default",
		"name: a\ndiscovery: {maximum: 0}":    "f:2:22: 0 is not a value of guests[].discovery.maximum; leave the key out for its default",
		"name: a\nmac: \"00:00:00:00:00:00\"": "f:2:6: \"00:00:00:00:00:00\" is not a MAC address, such as 50:54:33:00:00:07",
		"":                                    "f: no guest",
		"null":                                "f: no guest",
		"!x a":                                "f:1:1: !x: tags are not taken",
		"!!seq x":                             "f:1:1: !!seq: tags are not taken",
		"{name: a, ipv4: !x 192.0.2.1}":       "f:1:17: !x: tags are not taken",
	} {
		if _, err := ParseGuests("f", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// A panic of the library is an error: the daemon decodes in goroutines that nobody guards.
func TestLibraryPanics(t *testing.T) {
	doc, err := parser.ParseBytes([]byte("domains: !!str x"), 0) // parse would refuse it
	if err != nil {
		t.Fatal(err)
	}
	if err := decode(doc, &Config{}); err == nil || !strings.HasPrefix(err.Error(), ":1:1: this cannot be read: ") {
		t.Errorf("%v", err)
	}
}

// tagged are documents with tags, which the library does not take everywhere.
var tagged = []string{"domains: !!str x\n", "guests: !x\n", "overlays: !!str a\n", "{name: a, ipv4: !x 192.0.2.1}", "- !!map {name: a}\n", "!<tag:yaml.org,2002:seq> [a]", "%TAG ! tag:x,2002:\n---\n!seq x\n", "&a !x b: *a\n"}

func FuzzParse(f *testing.F) {
	data, _ := os.ReadFile(filepath.Join("..", "hv1.yaml"))
	f.Add(data)
	bad, _ := os.ReadFile("testdata/bad.txt")
	playFiles(string(bad), func(file string) []string { f.Add([]byte(file)); return nil })
	for _, text := range tagged {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data, TableNames{"public": 90})
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v, error %v", c, err)
		}
	})
}

func FuzzParseGuests(f *testing.F) {
	for _, text := range append(tagged, "{name: vm9, mac: \"50:54:33:00:00:99\", ipv4: [203.0.113.9]}", "- {name: a}\n- name: b\n  routed: &r [203.0.113.0/28]\n  transparent: *r\n") {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseGuests("f", data)
		if err != nil && list != nil {
			t.Fatalf("guests %v, error %v", list, err)
		}
	})
}

// LOCAL_PREF 0 is a value, and no key is the default.
func TestLocalPref(t *testing.T) {
	for text, want := range map[string]uint32{
		"name: a": 100, "name: a\nlocal-pref: 0": 0, `[{"name": "a", "local-pref": 0}]`: 0, `[{"name": "a", "local-pref": 7}]`: 7,
	} {
		if g, err := ParseGuests("f", []byte(text)); err != nil || g[0].LocalPref != want {
			t.Errorf("%q: %v, %v", text, g, err)
		}
	}
	c, err := Parse("f", []byte(expand("...\ndomains: [{name: public, table: 90, guests: true}]\n"+
		"guests: [{name: a}, {name: b, local-pref: 0}]\nguest-templates: [{interfaces: tap*, local-pref: 0}, {interfaces: vnet*}]\n")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Guests[0].LocalPref != 100 || c.Guests[1].LocalPref != 0 || c.GuestTemplates[0].LocalPref != 0 || c.GuestTemplates[1].LocalPref != 100 {
		t.Errorf("%+v %+v", c.Guests, c.GuestTemplates)
	}
}

// What aliases stand for is read wherever it may stand.
func TestAliases(t *testing.T) {
	c, err := Parse("f", []byte(`
router-id: &r 0.0.1.1
as: 65000
domains:
  - name: public
    table: &t 90
    guests: true
    reflectors:
      - {interface: a, local: &l 198.51.100.101, peer: 198.51.100.126, import: &p [{community: &c "65000:7", action: reject}]}
      - {interface: a, local: *l, peer: 198.51.100.127, import: *p}
edge: {gateway4: &gw 203.0.113.254, ra: {interval: &i 600s}}
guests:
  - {name: vm1, gateway4: *gw, ipv4: [203.0.113.1], mac: &m "50:54:33:00:00:07", ra: {interval: *i}}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	d := c.Domains[0]
	if c.Guests[0].Gateway4 != c.Edge.Gateway4 || d.Table.ID != 90 || d.Reflectors[1].Local != d.Reflectors[0].Local || !d.Reflectors[1].Import.Equal(d.Reflectors[0].Import) ||
		c.Guests[0].RA.Interval.Duration != 600*time.Second || c.Guests[0].MAC.IsZero() {
		t.Errorf("%+v", c)
	}
}

// Nothing costs more than its size, and what makes no sense costs little: brackets and
// dashes in each other were minutes and gigabytes.
func TestBounds(t *testing.T) {
	const size = 1 << 20
	for what, text := range map[string]string{
		"brackets":    strings.Repeat("[", size),
		"behind text": "a\"[: " + strings.Repeat("[", size),
		"braces":      "guests: " + strings.Repeat("{a: ", size/4),
		"dashes":      strings.Repeat("- ", size/2),
		"keys":        strings.Repeat("? ", size/2),
		"too long":    strings.Repeat("x", MaxSize+1),
		"closed":      strings.Repeat("[", 100000) + strings.Repeat("]", 100000),
		"not UTF-8":   "name: \"\xff\"",
		"no text":     "name: \"\x00\"",
		"a bell":      "name: \"\a\"",
		"a C1":        "name: \"\u0085\u0086\"",
		"a deleted":   "name: \"\x7f\"",
		"in a string": "name: \"" + strings.Repeat("é", 10) + "\xc3\"",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseGuests("f", []byte(text))
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s is taken", what)
		} else if len(err.Error()) > 200 {
			t.Errorf("%s: an error of %d octets", what, len(err.Error()))
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 400*size {
			t.Errorf("%s: %d octets", what, got)
		}
	}
}

// Brackets in texts and comments are none.
func TestBracketsInText(t *testing.T) {
	many := strings.Repeat("[", 2*maxDepth)
	for _, text := range []string{`"` + many + `"`, `'` + many + `'`, `"\"` + many + `"`, `'it''s ` + many + `'`, "a # " + many} {
		if _, err := ParseGuests("f", []byte("name: "+text+"\n")); err != nil && strings.Contains(err.Error(), "deep") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := brackets([]byte("it's " + many)); err == nil {
		t.Error("an apostrophe hides brackets")
	}
}

// The changelog has each name that is refused, and no other.
func TestRenamed(t *testing.T) {
	data, err := os.ReadFile("../../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for key, now := range renamed {
		in, old, _ := strings.Cut(key, ".")
		if in == "" {
			in = "(file)"
		}
		want = append(want, fmt.Sprintf("| %s | `%s` | `%s` |", in, old, now))
	}
	for key, values := range renamedValues {
		for old, now := range values {
			want = append(want, fmt.Sprintf("| %s (value) | `%s` | `%s` |", key, old, now))
		}
	}
	_, table, _ := strings.Cut(string(data), "| where | old | new |\n|---|---|---|\n")
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		switch what := strings.Fields(line)[1]; what {
		case "metric", "event", "flag", "Go", "API", "`show": // not of the file
		default:
			got = append(got, strings.TrimSpace(line))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the table of CHANGELOG.md has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
