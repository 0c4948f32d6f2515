package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sample is what some processes have used so far, all threads together.
type sample struct {
	at      time.Time
	cpu     time.Duration
	wakeups int64 // times that a thread went to sleep: voluntary context switches
}

// look takes a sample of processes.
func look(pids ...int) sample {
	s := sample{at: time.Now()}
	for _, pid := range pids {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		for _, dir := range threads {
			if b, err := os.ReadFile(dir + "/schedstat"); err == nil {
				ns, _, _ := strings.Cut(string(b), " ")
				n, _ := strconv.ParseInt(ns, 10, 64)
				s.cpu += time.Duration(n)
			}
			s.wakeups += field(dir+"/status", "voluntary_ctxt_switches")
		}
	}
	return s
}

// ownCPU is what this process has used so far.
func ownCPU() time.Duration { return look(os.Getpid()).cpu }

// since returns CPU in percent of a core, and wakeups a second, since an earlier sample.
func (s sample) since(old sample) (cpu, wakeups float64) {
	d := s.at.Sub(old.at)
	return 100 * float64(s.cpu-old.cpu) / float64(d), float64(s.wakeups-old.wakeups) / d.Seconds()
}

// size is what a process occupies.
type size struct {
	descriptors []string // the kind of each: socket, anon_inode, or a path; sorted
	memory      float64  // resident, MiB
	anonymous   float64  // of it, what is no file's: the program itself is left out
	goroutines  int      // 0 if it does not say
}

func sizeOf(pid int) (s size) {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil {
			kind, _, _ := strings.Cut(to, ":[")
			s.descriptors = append(s.descriptors, kind)
		}
	}
	slices.Sort(s.descriptors)
	status := fmt.Sprintf("/proc/%d/status", pid)
	s.memory, s.anonymous = float64(field(status, "VmRSS"))/1024, float64(field(status, "RssAnon"))/1024
	return s
}

// more lists the descriptors that s has and old had not.
func (s size) more(old size) (list []string) {
	left := slices.Clone(old.descriptors)
	for _, d := range s.descriptors {
		if i := slices.Index(left, d); i >= 0 {
			left = slices.Delete(left, i, i+1)
		} else {
			list = append(list, d)
		}
	}
	return list
}

// field returns the number of a line "NAME: NUMBER" of a file in /proc.
func field(path, name string) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0 // it has ended
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return n
		}
	}
	return 0
}
