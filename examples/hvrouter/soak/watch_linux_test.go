package soak

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestStandstills: gaps in milliseconds, and when the machine stood still.
func TestStandstills(t *testing.T) {
	for _, x := range []struct{ name, gaps, want string }{
		{"none", "", ""},
		{"short", "100-590", ""},
		{"long", "100-600", "100-600"},
		{"on two processors at once", "100-400 100-450 300-590", ""},
		{"one processor after the other", "100-400 380-600", "100-600"},
		{"several in one detection time", "100-300 500-700 900-1000", "100-1000"},
		{"in two detection times", "100-400 1400-1650", ""},
		{"each enough", "0-600 5000-5500", "0-600 5000-5500"},
		{"one that goes on", "0-600 700-800 1700-2200", "0-800 1700-2200"},
	} {
		var gaps []pausing
		at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
		for word := range strings.FieldsSeq(x.gaps) {
			var from, to int
			if _, err := fmt.Sscanf(word, "%d-%d", &from, &to); err != nil {
				t.Fatal(err)
			}
			gaps = append(gaps, pausing{at(from), at(to)})
		}
		var got []string
		for _, p := range standstills(gaps) {
			got = append(got, fmt.Sprintf("%d-%d", p.from.UnixMilli(), p.to.UnixMilli()))
		}
		if strings.Join(got, " ") != x.want {
			t.Errorf("%s: %s: %v, want %s", x.name, x.gaps, got, x.want)
		}
	}
}

// TestWatch: a process that is stopped is told of as what stood still.
func TestWatch(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SCHED_FIFO needs root")
	}
	w := startWatch(t)
	pid := w.cmd.Process.Pid
	from := time.Now()
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	time.Sleep(still + 200*time.Millisecond)
	_ = syscall.Kill(pid, syscall.SIGCONT)
	nstest.Wait(t, nstest.Patience, "a gap", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.gaps) > 0 })
	list := w.end()
	if !slices.ContainsFunc(list, func(p pausing) bool { return p.to.After(from.Add(still)) }) {
		t.Errorf("stopped at %v: %v", from, list)
	}
}
