package config

import (
	"fmt"
	"slices"
	"testing"
)

// TestWithFound: routers that were found are sessions of their neighbour, on interfaces that it has;
// what has no neighbour any more is left out, and the file's configuration stays as it is.
func TestWithFound(t *testing.T) {
	const text = `
router-id: 0.0.1.1
as: 65000
domains:
  - {name: public, table: 90, neighbors: [{interface: eth0, as: 65001}, {interface: "eth*", as: external, fabric: B}]}
`
	c, err := Parse("f", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	addr := func(s string) (a Addr) {
		if err := a.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		return a
	}
	found := func(link string) Found {
		return Found{Interface: link, Address: addr("fe80::a"), Local: addr("fe80::1")}
	}
	e := c.WithFound(map[string][]string{"public": {"eth0", "eth1", "wlan0"}}, map[string][]Found{"public": {found("eth0"), found("eth1"), found("wlan0")}})
	var got []string
	for path, r := range e.Domains[0].Sessions() {
		got = append(got, fmt.Sprintf("%s %s %s %s %s %v", path, r.Name, r.Fabric, r.Interface, r.ASName(), r.Families))
	}
	want := []string{".neighbors[0] fe80::a%eth0 eth0 eth0 65001 [ipv4 ipv6]", ".neighbors[1] fe80::a%eth1 B eth1 external [ipv4 ipv6]"}
	if !slices.Equal(got, want) || !slices.Equal(e.Domains[0].Interfaces, []string{"eth0", "eth1"}) {
		t.Errorf("%q, uplinks %v", got, e.Domains[0].Interfaces)
	}
	if v4, v6 := c.Families(c.Domains[0]); !v4 || !v6 || len(c.Domains[0].Found) > 0 || len(c.Domains[0].Interfaces) != 1 || c.Domains[0].Awaits() != 2 || e.Domains[0].Awaits() != 0 {
		t.Errorf("%+v", c.Domains[0])
	}
	if e.SameFound(c) || !e.SameFound(e.WithFound(map[string][]string{"public": {"eth0", "eth1"}}, map[string][]Found{"public": e.Domains[0].Found})) {
		t.Error("SameFound")
	}
}
