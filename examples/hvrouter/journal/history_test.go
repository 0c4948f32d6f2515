package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// written runs a history over events, and returns the errors that it reported.
func written(t *testing.T, dir string, events ...Event) (failed []error) {
	t.Helper()
	var j Journal
	r, err := j.Subscribe(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		j.Publish(e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	NewHistory(dir, func(err error) { failed = append(failed, err) }).Run(ctx, r)
	return failed
}

func read1(t *testing.T, dir string, f Filter) (names string) {
	t.Helper()
	list, err := ReadHistory(dir, f)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, e := range list {
		words = append(words, e.Name)
	}
	return strings.Join(words, " ")
}

func at(second int) time.Time { return time.Unix(1_800_000_000+int64(second), 0).UTC() }

// What was written by one run is there for the next, and for others; also after a line that the
// power cut off.
func TestHistory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if got := read1(t, dir, Filter{}); got != "" {
		t.Errorf("without a directory: %s", got)
	}
	written(t, dir, Event{Time: at(0), Name: "running"},
		Event{Time: at(1), Name: "bgp-up", Attrs: map[string]string{"peer": "192.0.2.1 from 192.0.2.2"}},
		Event{Time: at(2), Name: "guest-attached", Attrs: map[string]string{"guest": "vm1", "interface": "tap1"}})
	f, err := os.OpenFile(filepath.Join(dir, currentFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, `{"time":"2027-01-15T08:00:02Z","event":"torn`)
	f.Close()
	written(t, dir, Event{Time: at(3), Name: "repair", Attrs: map[string]string{"key": "net/ipv4/conf/tap1/rp_filter"}}, Event{Time: at(4), Name: "bgp-down", Attrs: map[string]string{"peer": "192.0.2.1"}})
	for _, c := range []struct {
		filter Filter
		want   string
	}{
		{Filter{}, "running bgp-up guest-attached repair bgp-down"},
		{Filter{Since: at(2)}, "guest-attached repair bgp-down"},
		{Filter{Last: 2}, "repair bgp-down"},
		{Filter{Event: "bgp-*"}, "bgp-up bgp-down"},
		{Filter{Peer: "192.0.2.1"}, "bgp-up bgp-down"},
		{Filter{Peer: "192.0.2.1", Since: at(2)}, "bgp-down"},
		{Filter{Peer: "rr1"}, ""},
		{Filter{Peer: "rr1", Addresses: []string{"192.0.2.3", "192.0.2.1"}}, "bgp-up bgp-down"},
		{Filter{Guest: "vm1"}, "guest-attached"},
		{Filter{Guest: "vm"}, ""},
		{Filter{Interface: "tap1"}, "guest-attached repair"},
		{Filter{Interface: "tap"}, ""},
	} {
		if got := read1(t, dir, c.filter); got != c.want {
			t.Errorf("%+v: %q, want %q", c.filter, got, c.want)
		}
	}
}

// Whatever happens, the files do not grow beyond their bounds, and what is not written is counted.
func TestHistoryBounds(t *testing.T) {
	dir := t.TempDir()
	h := NewHistory(dir, func(err error) { t.Errorf("failed: %v", err) })
	now := at(0)
	h.now = func() time.Time { return now }
	big := map[string]string{"err": strings.Repeat("x", 1<<20)}
	const all = 50_000
	for i := range all {
		if i%1000 == 0 {
			now = now.Add(40 * time.Second)
		}
		e := Event{Time: now, Name: fmt.Sprint("event-", i), Attrs: map[string]string{"peer": strings.Repeat("y", 400)}}
		if i%5000 == 0 {
			e.Attrs = big
		}
		h.write([]Event{e})
	}
	now = now.Add(time.Hour)
	h.write([]Event{{Time: now, Name: "last"}})
	h.close()
	for _, name := range []string{currentFile, olderFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Size() > MaxFile || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	list, err := ReadHistory(dir, Filter{})
	if err != nil || len(list) < 1000 || list[len(list)-1].Name != "last" {
		t.Fatalf("%d events, %v", len(list), err)
	}
	// From the oldest on, every number is there, or counted as lost.
	next := -1
	for _, e := range list[:len(list)-1] {
		var n int
		if e.Name == Lost {
			fmt.Sscan(e.Attrs["count"], &n)
			if next >= 0 {
				next += n
			}
			continue
		}
		fmt.Sscanf(e.Name, "event-%d", &n)
		if next >= 0 && n != next {
			t.Fatalf("event %d follows %d", n, next-1)
		}
		next = n + 1
	}
	if next < all-1000-1 {
		t.Errorf("the last is %d", next)
	}
}

// A disk that does not take events is reported once, and once more when it does again; what was
// lost meanwhile is counted.
func TestHistoryBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the directory should be
			t.Fatal(err)
		}
		var j Journal
		r, _ := j.Subscribe(0)
		var mu sync.Mutex
		var failed []error
		h := NewHistory(dir, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, err)
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); h.Run(ctx, r) }()
		for range 3 {
			j.Publish(Event{Name: "one"})
			time.Sleep(2 * retryTime)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		j.Publish(Event{Name: "two"})
		time.Sleep(2 * retryTime)
		cancel()
		<-done
		if len(failed) != 2 || failed[0] == nil || failed[1] != nil {
			t.Errorf("reported: %v", failed)
		}
		list, err := ReadHistory(dir, Filter{})
		if err != nil || len(list) != 2 || list[0].Name != Lost || list[0].Attrs["count"] != "3" || list[1].Name != "two" {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// What is removed while events are written is made anew for the next event; what cannot be made is
// reported.
func TestHistoryRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var failed []error
	h := NewHistory(dir, func(err error) { failed = append(failed, err) })
	defer h.close()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, want string) {
		t.Helper()
		h.write([]Event{{Time: at(0), Name: name}})
		if got := read1(t, dir, Filter{}); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	write("one", "one")
	do(os.Remove(filepath.Join(dir, currentFile)))
	write("two", "two")
	do(os.RemoveAll(dir))
	write("three", "three")
	do(os.Rename(filepath.Join(dir, currentFile), filepath.Join(dir, olderFile))) // as a program that rotates logs
	write("four", "three four")
	if len(failed) > 0 {
		t.Errorf("reported: %v", failed)
	}
	do(os.RemoveAll(dir))
	do(os.WriteFile(dir, nil, 0o600))
	h.write([]Event{{Time: at(0), Name: "five"}})
	if len(failed) != 1 || failed[0] == nil {
		t.Errorf("a file in the place of the directory: reported: %v", failed)
	}
	do(os.Remove(dir))
	write("six", Lost+" six")
	if len(failed) != 2 || failed[1] != nil {
		t.Errorf("reported: %v", failed)
	}
}

// One reads while another writes and exchanges the files: no event is there twice, and none between
// others is missing.
func TestHistoryReadWhileWritten(t *testing.T) {
	dir := t.TempDir()
	h := NewHistory(dir, func(err error) { t.Errorf("failed: %v", err) })
	h.bucket.Size = 1 << 30
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 4 * MaxFile / 1000 {
			h.write([]Event{{Time: at(i), Name: fmt.Sprint("event-", i), Attrs: map[string]string{"peer": strings.Repeat("y", 900)}}})
		}
		h.close()
	}()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		list, err := ReadHistory(dir, Filter{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			if i > 0 && list[i].Time.Sub(list[i-1].Time) != time.Second {
				t.Fatalf("%s follows %s", list[i].Name, list[i-1].Name)
			}
		}
	}
}
