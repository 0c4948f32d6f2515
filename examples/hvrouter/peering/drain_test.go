package peering

import (
	"testing"

	"github.com/hyperfib/hyperfib/bgp/rib"
)

func TestAlternative(t *testing.T) {
	for _, test := range []struct {
		name  string
		paths []rib.Path
		want  bool
	}{
		{"nobody", nil, false},
		{"ours", []rib.Path{{Local: true}}, false},
		{"another router", []rib.Path{{Local: true}, {}}, true},
		{"one whose session has ended", []rib.Path{{Stale: true}}, false},
		{"it and another", []rib.Path{{Stale: true}, {}}, true},
	} {
		if got := Alternative(test.paths); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
