package daemon

import (
	"errors"
	"slices"
	"testing"
)

// TestOverlayErrors: an overlay that cannot be made, or of which the kernel refuses a setting, is in the status for as long as that is so.
func TestOverlayErrors(t *testing.T) {
	b := newBench(t)
	e := b.edge.(fakeEdge)
	check := func(want ...string) {
		t.Helper()
		b.overlays()
		if got := b.overlayErrors(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	check()
	e.refused["vx100"] = errors.New("vx100: mtu 9000: invalid argument")
	check("vx100: vx100: mtu 9000: invalid argument")
	e.stand["vx100"] = errors.New("create device vx100: file exists")
	check("vx100: create device vx100: file exists")
	clear(e.stand)
	clear(e.refused)
	check()
}
