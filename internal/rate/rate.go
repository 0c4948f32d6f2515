// Package rate is a token bucket without a clock.
package rate

import "time"

// Bucket holds at most Size tokens and gains Rate tokens a second. It starts full
// at its first Take. It is not safe for concurrent use.
type Bucket struct {
	Rate, Size float64
	tokens     float64
	last       time.Time
}

// Take takes a token at time now if there is one. A clock that goes back adds
// nothing.
func (b *Bucket) Take(now time.Time) bool {
	if d := now.Sub(b.last); b.last.IsZero() {
		b.tokens, b.last = b.Size, now
	} else if d > 0 {
		b.tokens = min(b.Size, b.tokens+d.Seconds()*b.Rate)
		b.last = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
