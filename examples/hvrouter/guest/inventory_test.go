package guest

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

func parse(t *testing.T, text string) []config.Guest {
	t.Helper()
	guests, err := config.ParseGuests("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return guests
}

const three = `
- {name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1], ipv6: ["2001:db8:cb00:7100::/64"], routed: [203.0.113.10/32]}
- {name: vm2, mac: "50:54:33:00:00:09", ipv4: [203.0.113.2], routed: [203.0.113.10/32]}
- {name: vm3, interface: tap3, ipv4: [203.0.113.3], down: true}
`

func TestConflicts(t *testing.T) {
	for text, want := range map[string]string{
		`{name: vm1}`:                         "name vm1 belongs to guest vm1 (config)",
		`{name: x, interface: tap3}`:          "interface tap3 belongs to guest vm3",
		`{name: x, mac: "50:54:33:00:00:09"}`: "MAC 50:54:33:00:00:09 belongs to guest vm2",
		`{name: x, ipv4: [203.0.113.1]}`:      "203.0.113.1/32 belongs to guest vm1",
		`{name: x, mac: "50:54:33:00:00:99", ipv6: ["2001:db8:cb00:7100::7/128"]}`: "2001:db8:cb00:7100::7/128 belongs to guest vm1",
		`{name: x, ipv4: [203.0.113.9], routed: [203.0.113.10/32]}`:                "",
	} {
		var in Inventory
		if errs := in.Replace(FromConfig, parse(t, three)); errs != nil {
			t.Fatal(errs)
		}
		err := in.Put(parse(t, text)[0])
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestLife(t *testing.T) {
	var in Inventory
	in.Replace(FromConfig, parse(t, three))
	names := func(links ...string) (out []string) {
		for _, g := range in.Present(func(l string) bool { return strings.Contains(strings.Join(links, " "), l) }) {
			out = append(out, g.Name)
		}
		return out
	}
	if got := names("vm2", "vm1", "tap3"); !reflect.DeepEqual(got, []string{"vm1", "vm2"}) {
		t.Errorf("present: %v (vm3 is down)", got)
	}
	new := parse(t, `{name: vm4, ipv4: [203.0.113.4]}`)[0]
	if err := in.Put(new); err != nil {
		t.Fatal(err)
	}
	new.IPv4 = nil
	if err := in.Put(new); err != nil {
		t.Errorf("a guest replaces itself: %v", err)
	}
	if err := in.Remove("vm1"); err == nil || !strings.Contains(err.Error(), "comes from the config") {
		t.Errorf("removing what the config says: %v", err)
	}
	if err := in.Remove("vm4"); err != nil {
		t.Error(err)
	}
	if err := in.Remove("vm4"); err == nil {
		t.Error("removed twice")
	}
	if got := names("vm1"); !reflect.DeepEqual(got, []string{"vm1"}) {
		t.Errorf("present: %v", got)
	}
	errs := in.Replace(FromDirectory, parse(t, "[{name: vm1}, {name: vm5}]"))
	if len(errs) != 1 || len(in.Of(FromDirectory)) != 1 {
		t.Errorf("a file that names a guest of the config: %v", errs)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml":   "name: vm1",
		"b.json":   `[{"name": "vm2"}, {"name": "vm3"}]`,
		"c.yaml":   "nam: vm4",
		"d.backup": "name: vm5",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	guests, errs := ReadDirectory(dir)
	if len(guests) != 3 || len(errs) != 1 || !strings.Contains(errs[0].Error(), `c.yaml:1:1: unknown field "nam"`) {
		t.Errorf("%v, %v", guests, errs)
	}
	if _, errs := ReadDirectory(filepath.Join(dir, "none")); len(errs) != 1 {
		t.Errorf("a directory that is not there: %v", errs)
	}
}

func TestStore(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "sub", "guests")}
	if got, err := s.Load(); got != nil || err != nil {
		t.Errorf("before the first Save: %v, %v", got, err)
	}
	want := parse(t, three)
	if err := s.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if err := s.Save(nil); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(); len(got) != 0 || err != nil {
		t.Errorf("after Save(nil): %v, %v", got, err)
	}
	if err := (Store{NoStore}).Save(want); err != nil {
		t.Error(err)
	}
}

// TestPutMany: many guests are put as a whole. One that takes what belongs to another,
// also to another of the same request, refuses all of them; those that are replaced are
// in nobody's way, and guests may swap what they have.
func TestPutMany(t *testing.T) {
	var in Inventory
	in.Replace(FromConfig, parse(t, three))
	names := func() (out []string) {
		for _, g := range in.Of(FromAPI) {
			out = append(out, g.Name+" "+g.IPv4[0].String())
		}
		return out
	}
	version := in.Version()
	for text, want := range map[string]string{
		`[{name: a, ipv4: [203.0.113.11]}, {name: b, ipv4: [203.0.113.2]}]`:                                "guest b: 203.0.113.2/32 belongs to guest vm2 (config)",
		`[{name: a, ipv4: [203.0.113.11]}, {name: b, ipv4: [203.0.113.11]}]`:                               "guest b: 203.0.113.11/32 belongs to guest a (api)",
		`[{name: a, ipv4: [203.0.113.11]}, {name: a, interface: x, ipv4: [203.0.113.12]}]`:                 "guest a: name a belongs to guest a (api)",
		`[{name: a, ipv4: [203.0.113.1]}, {name: b, ipv4: [203.0.113.2]}, {name: c, ipv4: [203.0.113.9]}]`: "guest a: 203.0.113.1/32 belongs to guest vm1 (config)\nguest b: ",
	} {
		if err := in.Put(parse(t, text)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
		if got := names(); got != nil || in.Version() != version {
			t.Fatalf("%s: %v are there", text, got)
		}
	}
	if err := in.Put(parse(t, `[{name: a, ipv4: [203.0.113.11]}, {name: b, ipv4: [203.0.113.12]}]`)...); err != nil {
		t.Fatal(err)
	}
	old := in.Clone()
	if err := in.Put(parse(t, `[{name: b, ipv4: [203.0.113.11]}, {name: a, ipv4: [203.0.113.12]}]`)...); err != nil {
		t.Error("they cannot swap their addresses:", err)
	}
	if got := strings.Join(names(), ", "); got != "a 203.0.113.12, b 203.0.113.11" {
		t.Errorf("after the swap: %s", got)
	}
	if g, _, _ := old.Find("a"); g.IPv4[0].String() != "203.0.113.11" {
		t.Error("the clone has changed, too")
	}
	var many []config.Guest
	for range 30 {
		many = append(many, parse(t, `{name: vm1}`)...)
	}
	if err := in.Put(many...); err == nil || !strings.HasSuffix(err.Error(), "and 20 more") {
		t.Errorf("30 conflicts: %v", err)
	}
}
