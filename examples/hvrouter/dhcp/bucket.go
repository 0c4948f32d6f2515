package dhcp

import (
	"encoding/binary"
	"math/bits"
	"time"
)

// A guest may send ten requests at once and five a second: a client that boots
// sends two.
const (
	burst = 10
	rate  = 5
)

// bucket limits one guest, so that a flood costs the others nothing. The zero
// value is full.
type bucket struct {
	used float64
	last time.Time
}

func (b *bucket) take(now time.Time) bool {
	if !b.last.IsZero() {
		b.used = max(0, b.used-now.Sub(b.last).Seconds()*rate)
	}
	b.last = now
	if b.used+1 > burst {
		return false
	}
	b.used++
	return true
}

func nativeUint32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

func htons(v uint16) uint16 {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return v
	}
	return bits.ReverseBytes16(v)
}
