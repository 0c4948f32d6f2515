package fsm

import (
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// A peer that refuses for a moment after each failure of the path, as BIRD does in its
// error wait time, is called as soon after the third as after the first.
func TestPathFailuresAreNoRefusals(t *testing.T) {
	c := Config{RetryMin: 50 * time.Millisecond, RetryMax: 5 * time.Second, IdleHoldMin: time.Second, IdleHoldMax: time.Minute, Random: func() float64 { return 0 }}
	down := wire.Notification{Code: wire.CodeCease, Subcode: wire.SubBFDDown}
	var b backoff
	for flap := range 3 {
		for i := range 3 {
			if got, most := b.errorDelay(&c), c.IdleHoldMin<<i; got > most {
				t.Errorf("flap %d, refusal %d: %v, want %v at most", flap+1, i+1, got, most)
			}
		}
		b.ended(2*time.Second, down)
	}
	b.errorDelay(&c)
	b.ended(2*time.Second, wire.Notification{Code: wire.CodeUpdate})
	if b.errors != 1 {
		t.Errorf("%d refusals are counted after a session that the peer ended for an error, want 1", b.errors)
	}
}
