package arp

import "time"

// bucket is a token bucket. It starts full.
type bucket struct {
	rate, size, tokens float64 // tokens a second, most tokens, tokens now
	last               time.Time
}

// take takes a token if there is one.
func (b *bucket) take(now time.Time) bool {
	if d := now.Sub(b.last); b.last.IsZero() {
		b.tokens, b.last = b.size, now
	} else if d > 0 {
		b.tokens = min(b.size, b.tokens+d.Seconds()*b.rate)
		b.last = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
