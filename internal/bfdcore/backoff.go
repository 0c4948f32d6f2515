package bfdcore

import "time"

// Backoff is the wait between the tries of something that fails. The zero value is ready
// for use once Min and Max are set.
type Backoff struct {
	Min, Max time.Duration // the first wait, and the longest
	wait     time.Duration // the last wait; 0: none yet
}

// Next returns how long to wait after another failure: Min, and twice as long each time,
// up to Max.
func (b *Backoff) Next() time.Duration {
	b.wait = min(max(2*b.wait, b.Min), b.Max)
	return b.wait
}

// Reset begins anew with Min.
func (b *Backoff) Reset() { b.wait = 0 }
