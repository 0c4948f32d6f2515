package fib

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sysctls are desired values below /proc/sys.
type sysctls struct {
	want   map[string]string
	dirty  map[string]bool
	failed map[string]*failure
	set    map[string]bool // was written or seen right before: a difference is a repair
}

func (t *sysctls) init() {
	t.want, t.dirty = map[string]string{}, map[string]bool{}
	t.failed, t.set = map[string]*failure{}, map[string]bool{}
}

func checkSysctl(s Sysctl) error {
	if !strings.HasPrefix(s.Path, "net/") || path.Clean(s.Path) != s.Path || s.Value == "" {
		return &Error{Op: "set", Key: s, Err: ErrInvalid, Text: "a clean path below net/ and a value"}
	}
	return nil
}

func (t *sysctls) wish(s Sysctl) {
	if t.want[s.Path] != s.Value {
		t.want[s.Path] = s.Value
		t.dirty[s.Path] = true
		delete(t.set, s.Path)
		delete(t.failed, s.Path)
	}
}

func (t *sysctls) forget(p string) {
	delete(t.want, p)
	delete(t.dirty, p)
	delete(t.failed, p)
	delete(t.set, p)
}

// touch makes all paths, or those that have a component, be compared again.
func (t *sysctls) touch(component string) {
	for p := range t.want {
		if component == "" || strings.Contains(p, "/"+component+"/") {
			t.dirty[p] = true
			if component != "" {
				delete(t.set, p) // a new interface: its first value is no repair
			}
		}
	}
}

// touchAll makes the values below net/FAMILY be compared again: the kernel has
// changed some of them for a change of another, as it does for ip_forward and
// conf/all.
func (t *sysctls) touchAll(family string) {
	for p := range t.want {
		if strings.HasPrefix(p, "net/"+family+"/") {
			t.dirty[p] = true
		}
	}
}

// general reports whether p sets others: those are written first. What belongs to one
// interface or its neighbours does not.
func general(p string) bool {
	if strings.Contains(p, "/neigh/") {
		return false
	}
	return !strings.Contains(p, "/conf/") || strings.Contains(p, "/conf/all/") || strings.Contains(p, "/conf/default/")
}

// sysctlBatch bounds the comparisons in one turn, which take some 10 us each: a
// failover must not wait for a thousand of them.
const sysctlBatch = 32

// take returns what is to be compared and written now, general ones first. It looks
// at each that is due once: thousands of guests come with tens of thousands.
func (t *sysctls) take() (todo []Sysctl) {
	var others []Sysctl
	for p := range t.dirty {
		if f := t.failed[p]; f != nil && !f.next.IsZero() {
			continue
		}
		switch {
		case general(p):
			todo = append(todo, Sysctl{p, t.want[p]})
		case len(others) < sysctlBatch:
			others = append(others, Sysctl{p, t.want[p]})
		}
	}
	byPath := func(a, b Sysctl) int { return strings.Compare(a.Path, b.Path) }
	slices.SortFunc(todo, byPath)
	slices.SortFunc(others, byPath)
	todo = append(todo, others...)
	todo = todo[:min(len(todo), sysctlBatch)]
	for _, s := range todo {
		delete(t.dirty, s.Path)
	}
	return todo
}

// commit takes the outcome of one sysctl in. A path that does not exist is
// waited for without a word.
func (t *sysctls) commit(s Sysctl, written bool, err error, now time.Time, wake func(time.Time)) (report *Error, repaired bool) {
	if t.want[s.Path] != s.Value {
		return nil, false
	}
	if err == nil {
		if written && general(s.Path) {
			t.touchAll(strings.SplitN(s.Path, "/", 3)[1])
		}
		repaired = written && t.set[s.Path]
		t.set[s.Path] = true
		delete(t.failed, s.Path)
		return nil, repaired
	}
	f := t.failed[s.Path]
	if f == nil {
		f = &failure{}
		t.failed[s.Path] = f
	}
	if f.err == nil && !errors.Is(err, fs.ErrNotExist) {
		report = &Error{Op: "set", Key: s, Err: err}
	}
	f.err = &Error{Op: "set", Key: s, Err: err}
	f.step = backoff(f.step)
	f.next = now.Add(f.step)
	t.dirty[s.Path] = true
	wake(f.next)
	return report, false
}

func (t *sysctls) retry(now time.Time, all bool, wake func(time.Time)) {
	for _, f := range t.failed {
		if all || !now.Before(f.next) {
			f.next = time.Time{}
		} else {
			wake(f.next)
		}
	}
}

func (t *sysctls) pending() bool {
	for p := range t.dirty {
		if f := t.failed[p]; f == nil || f.next.IsZero() {
			return true
		}
	}
	return false
}

// applySysctl compares and, unless dry, writes one value. It runs on a thread
// in the namespace.
func applySysctl(s Sysctl, dry bool) (written bool, err error) {
	name := "/proc/sys/" + s.Path
	have, err := os.ReadFile(name)
	if err != nil {
		return false, err
	}
	if sameValue(string(have), s.Value) || dry {
		return false, nil
	}
	file, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return false, err
	}
	_, err = file.WriteString(s.Value)
	if e := file.Close(); err == nil {
		err = e
	}
	return true, err
}

// sameValue compares values word by word: the kernel separates with tabs.
func sameValue(a, b string) bool {
	fa, fb := strings.Fields(a), strings.Fields(b)
	if len(fa) != len(fb) {
		return false
	}
	for i := range fa {
		if fa[i] != fb[i] {
			return false
		}
	}
	return true
}

// sysctlWatch hears of writes by others through inotify: the kernel has no
// notification for most sysctls, but a write to a file in /proc is a write.
type sysctlWatch struct {
	file *os.File
	raw  func(f func(fd uintptr)) error
	path map[int32]string
	wd   map[string]int32
}

func newSysctlWatch() (*sysctlWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fib: inotify: %w", err)
	}
	file := os.NewFile(uintptr(fd), "inotify")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &sysctlWatch{file: file, raw: conn.Control, path: map[int32]string{}, wd: map[string]int32{}}, nil
}

// add watches a path. It runs on a thread in the namespace. Adding again is
// harmless, and needed after an interface has come back.
func (w *sysctlWatch) add(p string) {
	_ = w.raw(func(fd uintptr) {
		wd, err := unix.InotifyAddWatch(int(fd), "/proc/sys/"+p, unix.IN_MODIFY)
		if err == nil {
			if old, ok := w.wd[p]; ok && old != int32(wd) {
				delete(w.path, old)
			}
			w.path[int32(wd)], w.wd[p] = p, int32(wd)
		}
	})
}

func (w *sysctlWatch) remove(p string) {
	wd, ok := w.wd[p]
	if !ok {
		return
	}
	delete(w.wd, p)
	delete(w.path, wd)
	_ = w.raw(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) })
}

// read waits for writes and returns the watch descriptors concerned.
func (w *sysctlWatch) read(buf []byte) ([]int32, error) {
	n, err := w.file.Read(buf)
	if err != nil {
		return nil, err
	}
	var wds []int32
	for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
		wds = append(wds, int32(native.Uint32(b)))
		b = b[min(unix.SizeofInotifyEvent+int(native.Uint32(b[12:])), len(b)):]
	}
	return wds, nil
}
