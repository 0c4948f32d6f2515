// Package pace keeps work that is done again and again to a share of the time.
package pace

import "time"

// Rest returns for how long work is to rest that took so long, so that it takes 1/share of the time: least at least, and most at
// most. The time is that of a clock, and no measure of the work if the machine stood still meanwhile, or the
// process was stopped: without most, work of a millisecond that 45 s went by in would rest for more than an hour.
func Rest(took time.Duration, share int, least, most time.Duration) time.Duration {
	return min(max(least, time.Duration(share-1)*took), max(least, most))
}
