package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/bfd"
)

// The bare cost: a program that sends and receives as many UDP packets of BFD's size, between the
// same addresses, and does nothing else. It is the other end as well, as no BFD daemon would talk
// to it.

// udpBatch is how many packets it hands to the kernel at once, as bfd does.
const udpBatch = 64

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

func (d *daemon) startUDP(n *network, s shape, peer bool) error {
	path, err := sessionFile(n, s, peer)
	if err != nil {
		return err
	}
	ns := n.a
	if peer {
		ns = n.b
	}
	return d.run(ns, false, "/proc/self/exe", "role-udp", path, s.interval.String())
}

// roleUDP sends to every remote address once in 87.5 % of an interval, the mean of BFD's jitter,
// and reads what comes in whenever it has sent.
func roleUDP(args []string) error {
	interval, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	pairs, err := readPairs(args[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	in, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(in, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	if err := unix.Bind(in, &unix.SockaddrInet4{Port: bfd.Port}); err != nil {
		return err
	}
	out, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(out, &unix.SockaddrInet4{Addr: pairs[0][0].As4()}); err != nil {
		return err
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: 50}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return err
	}
	tasks, _ := os.ReadDir("/proc/self/task") // Go's own threads cost next to nothing: see bfd's quiet
	for _, t := range tasks {
		_ = os.WriteFile("/proc/"+t.Name()+"/timerslack_ns", []byte("50000000"), 0)
	}
	var (
		payload [24]byte
		iov     = unix.Iovec{Base: &payload[0], Len: uint64(len(payload))}
		batch   = make([]mmsghdr, len(pairs))
		to      = make([]unix.RawSockaddrInet4, len(pairs))
		rx      = make([]mmsghdr, udpBatch)
		rxIov   = make([]unix.Iovec, udpBatch)
		buf     [udpBatch][64]byte
	)
	for i, p := range pairs {
		to[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: p[1].As4()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&to[i].Port))[:], bfd.Port)
		batch[i].hdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&to[i])), Namelen: unix.SizeofSockaddrInet4, Iov: &iov, Iovlen: 1}
	}
	for i := range rx {
		rxIov[i] = unix.Iovec{Base: &buf[i][0], Len: 64}
		rx[i].hdr = unix.Msghdr{Iov: &rxIov[i], Iovlen: 1}
	}
	n := min(udpBatch, len(pairs))
	gap := interval * 7 / 8 * time.Duration(n) / time.Duration(len(pairs))
	for at, i := time.Now(), 0; ; at, i = at.Add(gap), i+n {
		if i+n > len(batch) {
			i = 0
		}
		call(unix.SYS_SENDMMSG, out, batch[i:i+n])
		for call(unix.SYS_RECVMMSG, in, rx) == len(rx) {
		}
		if d := time.Until(at.Add(gap)); d > 0 {
			ts := unix.NsecToTimespec(int64(d))
			_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		} else {
			at = time.Now() // it cannot keep up
		}
	}
}

func call(number uintptr, fd int, m []mmsghdr) int {
	n, _, errno := unix.RawSyscall6(number, uintptr(fd), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// roleSleeper sleeps a millisecond at a time under SCHED_FIFO, above all that is measured, on one
// processor, and writes how often a millisecond became longer than the limit, and the longest.
func roleSleeper(args []string) error {
	processor, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	limit, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(processor)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 70}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return err
	}
	late, longest := 0, time.Duration(0)
	fmt.Println(late, int64(longest))
	for last, wrote := time.Now(), time.Now(); ; {
		ts := unix.NsecToTimespec(int64(time.Millisecond))
		_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		now := time.Now()
		if d := now.Sub(last); d > limit {
			late++
			longest = max(longest, d)
		}
		if last = now; now.Sub(wrote) > 100*time.Millisecond {
			wrote = now
			fmt.Println(late, int64(longest))
		}
	}
}

// sleepers are the processes that say for how long processors stood still: no program could have
// done anything on them meanwhile.
type sleepers struct {
	procs []*exec.Cmd
	out   []*strings.Builder
}

// startSleepers has one on each processor count what is longer than limit.
func startSleepers(limit time.Duration) *sleepers {
	self, _ := os.Executable()
	s := &sleepers{}
	for i := range runtime.NumCPU() {
		c, b := exec.Command(self, "role-sleeper", strconv.Itoa(i), limit.String()), &strings.Builder{}
		c.Stdout, c.Stderr = b, os.Stderr
		if c.Start() == nil {
			s.procs, s.out = append(s.procs, c), append(s.out, b)
		}
	}
	return s
}

// stop returns how often a processor stood still for longer than the limit, and the longest time.
func (s *sleepers) stop() (late int, longest time.Duration) {
	for i, c := range s.procs {
		_ = c.Process.Kill()
		_ = c.Wait()
		lines := strings.Split(strings.TrimSpace(s.out[i].String()), "\n")
		var n int
		var d int64
		_, _ = fmt.Sscan(lines[len(lines)-1], &n, &d)
		late, longest = late+n, max(longest, time.Duration(d))
	}
	return late, longest
}
