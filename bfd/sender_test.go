package bfd

import (
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// TestUnsentReport: packets that found a send buffer full are reported with their number, also if there are no more of
// them after a burst, and once a minute at most.
func TestUnsentReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var got []string
		cfg := Config{Notice: func(err error) {
			var n int
			fmt.Sscanf(err.Error(), "bfd: %d packets not sent", &n)
			got = append(got, fmt.Sprintf("%v %d", time.Since(begin), n))
		}}
		s, err := newServerOn(cfg, newFakeNet().process("home", 1))
		if err != nil {
			t.Fatal(err)
		}
		go s.attacher.run()
		burst := func(n int) {
			for range n {
				s.owner.bufferFull()
			}
		}
		burst(100)
		time.Sleep(time.Second)
		burst(20)
		time.Sleep(9 * time.Second)
		burst(3)
		time.Sleep(3 * time.Minute)
		burst(7)
		time.Sleep(time.Minute)
		close(s.owner.ended)
		synctest.Wait()
		if want := []string{"5s 120", "1m5s 3", "3m15s 7"}; !reflect.DeepEqual(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
