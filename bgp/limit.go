package bgp

import "time"

// limitBackoff is how long a peer stays out that announces too much again and again.
type limitBackoff struct {
	ends int // sessions that ended so, one after the other
}

// maxLimitHold is the longest that a peer stays out, unless MaxPrefixesHold is longer. A
// session that lasts as long ends the row.
const maxLimitHold = time.Hour

// next returns how long the peer stays out this time, after a session that lasted a while.
func (b *limitBackoff) next(hold, lasted time.Duration) time.Duration {
	most := max(hold, maxLimitHold)
	if lasted >= most {
		b.ends = 0
	}
	wait := hold
	for range b.ends {
		wait = min(2*wait, most)
	}
	b.ends = min(b.ends+1, 32)
	return wait
}
