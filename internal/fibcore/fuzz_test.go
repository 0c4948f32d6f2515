package fibcore

import (
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/captures"
)

// FuzzNotifications: nothing that a netlink socket could yield makes the core fail.
func FuzzNotifications(f *testing.F) {
	for _, p := range captures.Read(f, "testdata/messages.txt") {
		f.Add(p.Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, now := ready(t, testConfig), time.Unix(1000, 0)
		for m := range rtnl.Messages(b) {
			c.Notification(m, now)
		}
		turn(c, now)
	})
}
