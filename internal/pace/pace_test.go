package pace

import (
	"testing"
	"time"
)

func TestRest(t *testing.T) {
	const least, most = 10 * time.Millisecond, 30 * time.Second
	for _, c := range []struct{ took, least, most, want time.Duration }{
		{0, least, most, least},
		{time.Microsecond, least, most, least},
		{time.Millisecond, least, most, 99 * time.Millisecond},
		{200 * time.Millisecond, least, most, 19800 * time.Millisecond},
		{45 * time.Second, least, most, most},                     // the machine stood still
		{time.Millisecond, time.Minute, time.Second, time.Minute}, // least wins
	} {
		if have := Rest(c.took, 100, c.least, c.most); have != c.want {
			t.Errorf("Rest(%v, 100, %v, %v) = %v, want %v", c.took, c.least, c.most, have, c.want)
		}
	}
}
