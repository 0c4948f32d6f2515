package bfd

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestQuiet has Go's monitor thread sleep long, and no other one: also none that has inherited
// its slack.
func TestQuiet(t *testing.T) {
	slack := func(task string) string { // "" if the thread has ended
		b, err := os.ReadFile("/proc/" + task + "/timerslack_ns")
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	tasks := func() []string {
		f, err := os.Open("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		names, err := f.Readdirnames(-1)
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	all, fixed := tasks(), map[string]bool{}
	for _, task := range all {
		was := slack(task)
		if was == "" {
			continue
		}
		if err := os.WriteFile("/proc/"+task+"/timerslack_ns", []byte(monitorSlack), 0); errors.Is(err, fs.ErrPermission) {
			t.Skip("needs CAP_SYS_NICE")
		}
		defer func() { _ = os.WriteFile("/proc/"+task+"/timerslack_ns", []byte(was), 0) }()
		if slack(task) == "0" { // in a real-time class, where an earlier test has left the thread: nothing changes that
			fixed[task] = true
		}
	}
	p, err := newEpoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	p.quiet()
	for i, task := range all {
		want := usualSlack
		if i == 1 {
			want = monitorSlack
		}
		if fixed[task] && i != 1 {
			continue
		}
		if got := slack(task); got != want && (got != "" || i == 1) {
			t.Errorf("thread %d of %d has a slack of %s ns, want %s", i, len(all), got, want)
		}
	}
	// That one is the monitor: it sleeps by nanosleep (35) or, deeper, by futex. The others
	// do not sleep, but for 3 us.
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile("/proc/self/task/" + all[1] + "/syscall")
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(b), "35 ") {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("the thread that is taken for Go's monitor does not sleep: %s", b)
		}
	}
}
